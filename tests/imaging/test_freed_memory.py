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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_planes_made_after_another_use_its_memory_again() -> None:
    # the kernel clears each plane anew unless it is kept: 8 x 16384 pages
    assert page_faults() > 100_000
    assert page_faults("keep") < 1_000
