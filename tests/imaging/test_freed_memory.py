"""Memory that was freed: a frame's planes are made of the same pages again."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
import numpy as np
from astrid_site.imaging.freed_memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

assert not sys.argv[1:] or keep_freed_memory()
np.ones(2**24, dtype=np.float32)
before = faults()
for _ in range(8):
    np.ones(2**24, dtype=np.float32)
print(faults() - before)
"""

_HOLES = """
from pathlib import Path
import numpy as np
from astrid_site.imaging.freed_memory import give_back_freed_memory, keep_freed_memory

def held():
    return int(Path("/proc/self/statm").read_text().split()[1])

keep_freed_memory()
before = held()
planes = [np.ones(2**21, dtype=np.float32) for _ in range(8)]
last = np.ones(2**10)  # above them: what is freed below is no end of the heap
del planes
kept = held() - before
give_back_freed_memory()
print(kept, held() - before)
"""


def page_faults(*arguments: str) -> int:
    """Page faults of eight planes of 64 MB, made one after the other."""
    # without huge pages a fresh plane costs 16384 faults
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        env={"NUMPY_MADVISE_HUGEPAGE": "0", "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


glibc_only = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc"
)


@glibc_only
def test_planes_made_after_another_use_its_memory_again() -> None:
    # the kernel clears each plane anew unless it is kept: 8 x 16384 pages
    assert page_faults() > 100_000
    assert page_faults("keep") < 1_000


@glibc_only
def test_holes_between_what_is_in_use_are_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HOLES], capture_output=True, text=True, check=True
    )
    kept, left = map(int, done.stdout.split())
    # eight planes of 2048 pages each
    assert kept > 16_000
    assert left < 1_000
