"""The processes that decode untrusted pixels, prove a WCS and unpack the records of alerts.

Run as ``python -m astrid_site.imaging.fits_reader_child``. This process, the host, loads the
libraries once and then forks one disposable reader for each job it is told of; it never touches a
file itself. A reader limits itself, dies with its host, touches only the folder of its job, and
may be killed at any moment: its result counts only if it ended with status 0.

Orders come as lines of JSON on standard input (``job``, a path, and ``wall_seconds``); each is
answered by a line of JSON: the reader's exit ``status``, negative for a signal, and what it and
its host used (``cpu_seconds`` since the last answer, ``peak_kib`` of the larger). The host ends
with its standard input, or after a minute without work.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import resource
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

#: Exit status for "asks for more memory than allowed".
OUT_OF_MEMORY = 3
_PR_SET_PDEATHSIG = 1
_IDLE_SECONDS = 60.0
_STDIN = 0


def serve() -> int:
    """Answer orders until nobody is left to give any."""
    counted = 0.0
    while True:
        ready, _, _ = select.select([_STDIN], [], [], _IDLE_SECONDS)
        order = _next_order() if ready else b""
        if not order:
            return 0
        wanted = json.loads(order)
        status = _run_apart(Path(wanted["job"]), wall_seconds=wanted["wall_seconds"])
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu_seconds = sum(part.ru_utime + part.ru_stime for part in used)
        answer = {
            "status": status,
            "cpu_seconds": cpu_seconds - counted,
            "peak_kib": max(own_peak_kib(), used[1].ru_maxrss),
        }
        counted = cpu_seconds
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def own_peak_kib() -> int:
    """Most memory that this program has held.

    The kernel's ``ru_maxrss`` would do, but for counting also what the process held before it
    became this program: as much as the one that started it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _next_order() -> bytes:
    """One line of standard input; empty at its end."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(_STDIN, 65536)
        if not part:
            return b""
        line += part
    return line


def _run_apart(job_path: Path, *, wall_seconds: int) -> int:
    """Exit status of a reader forked for one job, negative for a signal; SIGXCPU if too slow."""
    job = json.loads(job_path.read_text())
    _load_libraries(job)
    host = os.getpid()
    reader = os.fork()
    if reader == 0:
        _become_reader(job, job_path, host=host)
    handle = os.pidfd_open(reader)
    try:
        # standard input is ready only when it has ended: nobody waits for this reader any more
        ready, _, _ = select.select([handle, _STDIN], [], [], wall_seconds)
    finally:
        os.close(handle)
    if not ready or handle not in ready:
        os.kill(reader, signal.SIGKILL)
    _, ended = os.waitpid(reader, 0)
    return os.waitstatus_to_exitcode(ended) if ready else -signal.SIGXCPU


def _load_libraries(job: dict[str, Any]) -> None:
    """Import what the job needs here, where it stays loaded for the next one."""
    needed = {"pixels": ["astrid_site.imaging.fits_pixels"]}
    needed["wcs"] = ["astrid_site.imaging.wcs_proof", "astropy.io.fits"]
    needed["records"] = ["astrid_site.imaging.avro_records"]
    for part, modules in needed.items():
        for name in modules if job.get(part) else []:
            importlib.import_module(name)


def _become_reader(job: dict[str, Any], job_path: Path, *, host: int) -> None:
    """Do the job in this freshly forked process and end it; never returns."""
    status = 1
    try:
        _leave_host(job_path.parent)
        confine(job["limits"], parent=host)
        status = _do(job, job_path)
    finally:
        # os._exit: the host's own clean-up is not ours to run
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(status)


def _leave_host(folder: Path) -> None:
    """A session, a working folder and standard streams of this reader's own."""
    os.setsid()
    os.chdir(folder)
    os.environ.update(HOME=str(folder), TMPDIR=str(folder))
    nowhere = os.open(os.devnull, os.O_RDWR)
    log = os.open(folder / "stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream, target in enumerate((nowhere, nowhere, log)):
        os.dup2(target, stream)


def _do(job: dict[str, Any], job_path: Path) -> int:
    """Write the result of a job beside it as ``result.json``; returns the exit status."""
    try:
        result = run_job(job)
    except MemoryError:
        return OUT_OF_MEMORY
    except OSError as error:
        # a mapping that does not fit the limit
        if error.errno == errno.ENOMEM:
            return OUT_OF_MEMORY
        raise
    job_path.with_name("result.json").write_text(json.dumps(result))
    return 0


def confine(limits: dict[str, int], *, parent: int) -> None:
    """Bound memory, time, file size and core dumps of this process, and tie it to its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # the parent died before the line above took effect
        sys.exit(1)
    cpu = limits["cpu_seconds"]
    # SIGXCPU at the first bound tells the parent why; a kill would look like somebody else's
    resource.setrlimit(
        resource.RLIMIT_CPU,
        (_allowed(resource.RLIMIT_CPU, cpu), _allowed(resource.RLIMIT_CPU, cpu + 5)),
    )
    for kind, bound in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["output_bytes"]),
    ):
        resource.setrlimit(kind, (_allowed(kind, bound),) * 2)


def _allowed(kind: int, wanted: int) -> int:
    """A bound no higher than that of the machine's owner (a batch queue, a shell's ulimit)."""
    highest = resource.getrlimit(kind)[1]
    return wanted if highest == resource.RLIM_INFINITY else min(wanted, highest)


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Decode pixels, prove the WCS or unpack records, whichever the job asks for."""
    result: dict[str, Any] = {"wcs_problem": None}
    if job.get("pixels"):
        from astrid_site.imaging.fits_pixels import decode_pixels

        result["finite"] = decode_pixels(job["pixels"])
    if job.get("wcs"):
        from astrid_site.imaging.wcs_proof import prove_wcs

        ny, nx = job["shape"]
        result["wcs_problem"] = prove_wcs(job["wcs"], shape=(ny, nx))
    if job.get("records"):
        from astrid_site.imaging.avro_records import unpack_records

        unpack_records(job["records"])
    return result


if __name__ == "__main__":
    sys.exit(serve())
