"""The disposable process in which untrusted pixels are decoded and a WCS is proved.

Run as ``python -m astrid_site.imaging.fits_reader_child JOB.json``. It limits itself, dies with its
parent, touches only the folder of its job, and may be killed at any moment: the parent reads the
result only if this process ended with status 0.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

#: Exit status for "asks for more memory than allowed".
OUT_OF_MEMORY = 3
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Do the job described by a JSON file; the result lies beside it as ``result.json``."""
    job_path = Path(arguments[0])
    job = json.loads(job_path.read_text())
    confine(job["limits"], parent=job["parent"])
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
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
    for kind, bound in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["output_bytes"]),
    ):
        resource.setrlimit(kind, (bound, bound))


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Decode pixels and prove the WCS, whichever the job asks for."""
    # imported here: numpy must allocate under the limits, and a header-only job needs no pixels
    result: dict[str, Any] = {"wcs_problem": None}
    if job.get("pixels"):
        from astrid_site.imaging.fits_pixels import decode_pixels

        result["finite"] = decode_pixels(job["pixels"])
    if job.get("wcs"):
        from astrid_site.imaging.wcs_proof import prove_wcs

        ny, nx = job["shape"]
        result["wcs_problem"] = prove_wcs(job["wcs"], shape=(ny, nx))
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
