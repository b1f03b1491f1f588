"""A worker that has done it before: the command run again and again in one process.

    python -m benchmarks.engine.warm_worker REPEATS -- ARGUMENTS OF subtract_images

Prints one line of JSON for each repeat, the first of which warms up.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import time
from pathlib import Path

from astrid_site.imaging.fits_process import reader_usage


def main() -> None:
    """Repeat the command."""
    repeats, separator, *arguments = sys.argv[1:]
    if separator != "--":
        sys.exit(__doc__)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "astrid_site.settings")
    import django

    django.setup()
    from django.core.management import call_command

    output = Path(arguments[arguments.index("--output") + 1])
    for _ in range(int(repeats)):
        cpu, wall = _cpu_seconds(), time.perf_counter()
        call_command("subtract_images", *arguments, stdout=io.StringIO(), stderr=io.StringIO())
        wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
        told = json.loads((output / "timing.json").read_text())
        line = {"wall_s": wall, "cpu_s": cpu, "peak_mb": _peak_mb(), "stages": told["seconds"]}
        print(json.dumps(line), flush=True)


def _cpu_seconds() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + reader_usage().cpu_seconds


def _peak_mb() -> float:
    """Peak of this process; its short-lived readers count as large as it was when it forked."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


if __name__ == "__main__":
    main()
