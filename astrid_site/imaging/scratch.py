"""Folders for work in progress that can be told from those a dead process left behind.

Whoever works in such a folder holds a lock on it, which the kernel lets go of however the
process ends: no process number, which another process may bear later or in another container,
has to be believed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "astrid-work-"
#: Between its making and its locking a folder is nobody's; a younger one is left alone.
_YOUNG_S = 5.0


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """A private folder while the block lasts; in the system's temporary folder by default."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as name:
        handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(handle)


def remove_abandoned(parent: Path | None = None) -> int:
    """Remove the scratch folders whose process is dead; returns how many there were."""
    folder = parent or Path(tempfile.gettempdir())
    return sum(_remove_if_abandoned(path) for path in folder.glob(f"{PREFIX}*"))


def _remove_if_abandoned(path: Path) -> bool:
    try:
        if time.time() - path.stat().st_ctime < _YOUNG_S:
            return False
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        # gone meanwhile, or another user's
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()
    finally:
        os.close(handle)
