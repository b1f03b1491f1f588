"""Starts, bounds and ends the disposable reader process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from astrid_site.imaging.errors import ImageReadError
from astrid_site.imaging.fits_limits import MIB, GateLimits
from astrid_site.imaging.fits_reader_child import OUT_OF_MEMORY

_MODULE = "astrid_site.imaging.fits_reader_child"
_ROOT = Path(__file__).resolve().parents[2]
#: A reader that somebody kills (the kernel short of memory, a person) is started again.
_MAX_STARTS = 3


def run_reader(
    job: dict[str, Any], *, folder: Path, file_name: str, limits: GateLimits
) -> dict[str, Any]:
    """Run one job in its own process and session, and return its result.

    Raises
    ------
    ImageReadError
        ``reader_crashed`` if a signal ended the process, ``reader_timeout`` if it took too long,
        ``reader_killed`` if it was killed from outside every time it was started,
        ``too_large`` if it ran out of memory, ``unreadable`` if the decoder refused the data.
    """
    job_path = folder / "job.json"
    job["parent"] = os.getpid()
    job["limits"] = {
        "cpu_seconds": limits.cpu_seconds,
        "memory_bytes": limits.memory_bytes,
        "output_bytes": 4 * limits.max_pixels + MIB,
    }
    job_path.write_text(json.dumps(job))
    for _ in range(_MAX_STARTS):
        status, complaint = _run(job_path, wall_seconds=limits.wall_seconds)
        # our own kill after the wall time counts as SIGXCPU: this one says nothing of the file
        if status != -signal.SIGKILL:
            break
    if status == 0:
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return result
    raise _failure(status, complaint, file_name=file_name)


def _run(job_path: Path, *, wall_seconds: int) -> tuple[int, str]:
    """Exit status (negative for a signal) and last line of what the process complained."""
    folder = job_path.parent
    log = folder / "stderr.txt"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            # -P -s: nothing beside the job and nothing of the user's is importable
            [sys.executable, "-P", "-s", "-m", _MODULE, str(job_path)],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=wall_seconds)
        except subprocess.TimeoutExpired:
            status = -signal.SIGXCPU
        finally:
            _end(process)
    return status, _last_line(log)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(folder: Path) -> dict[str, str]:
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "PATH": os.defpath,
        "PYTHONPATH": str(_ROOT),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
    } | dict.fromkeys(threads, "1")


def _last_line(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 2000))
        lines = stream.read().decode("utf-8", "replace").strip().splitlines()
    return "".join(c for c in (lines[-1] if lines else "") if c.isprintable())[:200]


def _failure(status: int, complaint: str, *, file_name: str) -> ImageReadError:
    again = "Export it again with another program."
    if status == -signal.SIGKILL:
        message, code = f"its reader was killed {_MAX_STARTS} times.", "reader_killed"
        again = "Try again when the machine has more free memory."
    elif status == -signal.SIGXCPU:
        message, code = "reading it took too long.", "reader_timeout"
    elif status < 0:
        message, code = f"it crashed the reader (signal {-status}).", "reader_crashed"
    elif status == OUT_OF_MEMORY:
        message, code = "reading it needs more memory than allowed.", "too_large"
    else:
        message, code = f"the decoder refused its pixels ({complaint}).", "unreadable"
    return ImageReadError(message, file_name=file_name, code=code, remedy=again)
