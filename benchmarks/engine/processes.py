"""Run a program and say what it cost: wall, CPU and peak memory of it and of its children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


#: A process starts its life with the peak memory of the one it was forked from. This one holds
#: whole scenes, so a small one in between starts the program and asks the kernel what it used.
_STARTER = """
import json, os, sys, time
start = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
told = [time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]
with open(sys.argv[1], "w") as stream:
    json.dump([*told, os.waitstatus_to_exitcode(status)], stream)
"""


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
    usage = log.with_suffix(".usage.json")
    starter = [sys.executable, "-I", "-S", "-c", _STARTER, str(usage)]
    with log.open("w") as stream:
        subprocess.run(
            [*starter, "timeout", f"{timeout_s:g}", *command],
            cwd=ROOT,
            env=os.environ | dict(environment or {}),
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=True,
        )
    wall_s, cpu_s, peak_kb, exit_code = json.loads(usage.read_text())
    return Cost(
        wall_s=wall_s,
        cpu_s=cpu_s,
        peak_mb=peak_kb / 1024.0,
        exit_code=exit_code,
        error="" if exit_code == 0 else _last_line(log),
    )


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no word of why"


def thread_environment(threads: int) -> dict[str, str]:
    """As many threads for every numerical library."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {name: str(threads) for name in names}
