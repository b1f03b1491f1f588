"""A reader that somebody kills is started again: the file is not to blame."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from astrid_site.imaging.errors import ImageReadError
from astrid_site.imaging.fits_io import read_image
from astrid_site.imaging.fits_process import release_readers
from tests.reliability.installation import descendants

PIXELS = np.arange(64 * 64, dtype=">i2").reshape(64, 64)


@pytest.fixture(autouse=True)
def no_idle_readers() -> None:
    """A reader that waits for work would be killed before it has any, which nobody notices."""
    release_readers()


@pytest.fixture
def frame(tmp_path: Path) -> Path:
    path = tmp_path / "frame.fits"
    fits.PrimaryHDU(PIXELS).writeto(path)
    return path


@contextmanager
def killer(victims: int) -> Iterator[set[int]]:
    """Kill the first readers of this process; a reader needs longer to start than this to look."""
    killed: set[int] = set()
    over = threading.Event()

    def kill() -> None:
        while len(killed) < victims and not over.wait(0.005):
            for pid in descendants(os.getpid(), named="fits_reader_child") - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join(timeout=10)


def test_a_reader_killed_once_gives_the_same_pixels(frame: Path) -> None:
    with killer(1) as killed:
        image = read_image(frame).image
    assert len(killed) == 1
    np.testing.assert_array_equal(image.data, PIXELS.astype(np.float32))


def test_a_reader_killed_again_and_again_is_reported_as_such(frame: Path) -> None:
    with killer(3) as killed, pytest.raises(ImageReadError, match="killed 3 times") as refusal:
        read_image(frame)
    assert len(killed) == 3
    assert refusal.value.code == "reader_killed"
