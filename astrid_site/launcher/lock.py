"""One launcher for each data folder; who comes second is told where the first one is."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import CommandError

_NAME = "launcher.lock"


def running_launcher(folder: Path) -> str:
    """What to say of a launcher that runs on the folder; empty if there is none.

    It only looks: a folder that is not there yet is not made.
    """
    try:
        with (folder / _NAME).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _words(folder)
    except OSError:  # no such file, or not ours to read: what is wrong is told by who writes
        return ""
    return ""


@contextmanager
def only_launcher(folder: Path, address: str) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it however this process ends.

    Raises
    ------
    CommandError
        If another launcher holds it; says its address and how to stop it.
    """
    # not "w": that would wipe out what the launcher that holds the lock says of itself
    with (folder / _NAME).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(_words(folder)) from None
        lock.truncate(0)
        lock.write(f"{address} {os.getpid()}\n")
        lock.flush()
        yield


def _words(folder: Path) -> str:
    """Where the launcher of the folder is, as far as it has told yet."""
    told = (folder / _NAME).read_text().split()
    if len(told) != 2:
        return f"AstrID is being started on the data folder {folder}"
    address, pid = told
    return (
        f"AstrID already runs at {address} on the data folder {folder}; stop it with Ctrl-C "
        f"where it was started, or with: kill {pid}"
    )
