"""Starts, bounds and ends the disposable reader processes, and keeps their hosts."""

from __future__ import annotations

import atexit
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astrid_site.imaging.errors import ImageReadError
from astrid_site.imaging.fits_limits import ReaderLimits
from astrid_site.imaging.fits_reader_child import OUT_OF_MEMORY

_MODULE = "astrid_site.imaging.fits_reader_child"
_ROOT = Path(__file__).resolve().parents[2]
#: A reader that somebody kills (the kernel short of memory, a person) is started again.
_MAX_STARTS = 3
#: Beyond a reader's wall time: for its host to load the libraries and to answer.
_PATIENCE_SECONDS = 30
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_reader(
    job: dict[str, Any], *, folder: Path, file_name: str, limits: ReaderLimits
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
    job["limits"] = {
        "cpu_seconds": limits.cpu_seconds,
        "memory_bytes": limits.memory_bytes,
        "output_bytes": limits.output_bytes,
    }
    job_path.write_text(json.dumps(job))
    for _ in range(_MAX_STARTS):
        status = _HOSTS.run(job_path, wall_seconds=limits.wall_seconds)
        # our own kill after the wall time counts as SIGXCPU: this one says nothing of the file
        if status != -signal.SIGKILL:
            break
    if status == 0:
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return result
    raise _failure(status, _last_line(folder / "stderr.txt"), file_name=file_name)


@dataclass(frozen=True)
class ReaderUsage:
    """Processor time of all readers and hosts of this process, and the peak of the largest."""

    cpu_seconds: float
    peak_mb: float


def reader_usage() -> ReaderUsage:
    """What reading has cost so far; hosts are alive, so the kernel does not count them yet."""
    return ReaderUsage(_USAGE.cpu_seconds, _USAGE.peak_kib / 1024.0)


class _Usage:
    """Sums what the hosts tell of themselves."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Count from nothing."""
        self._lock = threading.Lock()
        self.cpu_seconds = 0.0
        self.peak_kib = 0

    def add(self, cpu_seconds: float, peak_kib: int) -> None:
        """Count one answer."""
        with self._lock:
            self.cpu_seconds += cpu_seconds
            self.peak_kib = max(self.peak_kib, peak_kib)


_USAGE = _Usage()


class _Host:
    """A process that keeps the libraries loaded and forks one reader for each job."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -P -s: nothing beside the job and nothing of the user's is importable
                [sys.executable, "-P", "-s", "-m", _MODULE],
                cwd="/",
                env=_environment(),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs; one without work leaves after a while."""
        return self._process.poll() is None

    def run(self, job_path: Path, *, wall_seconds: int) -> int:
        """Exit status of a reader; SIGKILL where the host itself was ended."""
        order = json.dumps({"job": str(job_path), "wall_seconds": wall_seconds})
        try:
            self._line.settimeout(wall_seconds + _PATIENCE_SECONDS)
            self._line.sendall(order.encode() + b"\n")
            answer = self._line.recv(1024)
        except ConnectionError:
            answer = b""
        except TimeoutError:
            self.end()
            return -signal.SIGXCPU
        if not answer:
            self.end()
            return -signal.SIGKILL
        told = json.loads(answer)
        _USAGE.add(told["cpu_seconds"], told["peak_kib"])
        return int(told["status"])

    def end(self) -> None:
        """Kill the process; a reader it still has dies with it."""
        self._line.close()
        if self.is_alive:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def forget(self) -> None:
        """Let go of a host that is the child of the process this one was forked from."""
        self._line.close()
        # nothing to wait for
        self._process.returncode = 0


class _Hosts:
    """The hosts of this process that have no job just now; one serves one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Host] = []

    def run(self, job_path: Path, *, wall_seconds: int) -> int:
        """Exit status of a reader for one job; its host is kept for the next."""
        host = self._take()
        is_answered = False
        try:
            status = host.run(job_path, wall_seconds=wall_seconds)
            is_answered = True
        finally:
            if not is_answered:
                host.end()
        with self._lock:
            self._idle.append(host)
        return status

    def _take(self) -> _Host:
        while True:
            with self._lock:
                host = self._idle.pop() if self._idle else None
            if host is None:
                return _Host()
            if host.is_alive:
                return host
            host.end()

    def end(self) -> None:
        """End the idle hosts."""
        with self._lock:
            idle, self._idle = self._idle, []
        for host in idle:
            host.end()

    def forget(self) -> None:
        """Start anew in a forked process: the hosts are its parent's."""
        for host in self._idle:
            host.forget()
        self._lock, self._idle = threading.Lock(), []
        _USAGE.restart()


_HOSTS = _Hosts()
atexit.register(_HOSTS.end)
os.register_at_fork(after_in_child=_HOSTS.forget)


def release_readers() -> None:
    """End the idle readers' hosts: their memory is free, and they count as children that ended."""
    _HOSTS.end()


def _environment() -> dict[str, str]:
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "PATH": os.defpath,
        "PYTHONPATH": str(_ROOT),
        "LANG": "C.UTF-8",
    } | dict.fromkeys(threads, "1")


def _last_line(log: Path) -> str:
    if not log.exists():
        return ""
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
    elif any(os.strerror(number) in complaint for number in _NO_ROOM):
        message, code = "there is no room on the disk to read it.", "no_room"
        again = "Free some space where temporary files go."
    elif status == OUT_OF_MEMORY:
        message, code = "reading it needs more memory than allowed.", "too_large"
    else:
        message, code = f"the decoder refused it ({complaint}).", "unreadable"
    return ImageReadError(message, file_name=file_name, code=code, remedy=again)
