"""Run a program and say what it cost: wall, CPU and peak memory of it and of its children."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Cost:
    """What one run took; the memory is that of its largest process."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    exit_code: int
    error: str


def run_measured(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 900.0,
) -> Cost:
    """Run a command to its end and read its resource usage from the kernel.

    A run past ``timeout_s`` is killed by its own ``timeout`` and ends with exit code 124.
    """
    start = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(
            ["timeout", f"{timeout_s:g}", *command],
            cwd=ROOT,
            env=os.environ | dict(environment or {}),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(
        wall_s=time.perf_counter() - start,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss / 1024.0,
        exit_code=process.returncode,
        error="" if process.returncode == 0 else _last_line(log),
    )


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no word of why"


def thread_environment(threads: int) -> dict[str, str]:
    """As many threads for every numerical library."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {name: str(threads) for name in names}
