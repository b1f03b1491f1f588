"""Looks at the ledger as the tests need it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

from django.db import connections

from astrid_site.core import jobs
from astrid_site.core.jobs import NextJob, ledger
from astrid_site.core.models import Event, Job


def new_job(kind: str = "simple", **extra: Any) -> Job:
    return jobs.submit(NextJob(kind, uuid.uuid4(), "v1", **extra))


def fresh(job: Job) -> Job:
    return Job.objects.get(id=job.id)


def results(job: Job) -> int:
    return Event.objects.filter(kind="test.result", subject_id=job.subject_id).count()


def states(job: Job) -> list[str]:
    rows = Event.objects.filter(kind__startswith="job.", subject_id=job.subject_id).order_by("id")
    return [row.kind.removeprefix("job.") for row in rows]


def expire(job: Job) -> None:
    Job.objects.filter(id=job.id).update(lease_until=ledger.db_time(-1))


def together(count: int, work: Callable[[int], None]) -> None:
    """Run the work in threads that start at one moment, each with its own connection."""
    gate = threading.Barrier(count)
    troubles: list[Exception] = []

    def one(number: int) -> None:
        try:
            gate.wait(timeout=10)
            work(number)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            troubles.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert troubles == []
