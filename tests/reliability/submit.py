"""``python -m tests.reliability.submit KIND COUNT``: write jobs as a web process would."""

from __future__ import annotations

import sys
import uuid

import django


def main(kind: str, count: int) -> None:
    """Submit ``count`` jobs, each in a transaction of its own."""
    django.setup()
    from astrid_site.core import jobs

    for _ in range(count):
        jobs.submit(jobs.NextJob(kind, uuid.uuid4(), "v1"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
