"""Ring for the jobs that wait."""

from __future__ import annotations

from django.conf import settings
from django.db.models import QuerySet

from astrid_site.core import tasking
from astrid_site.core.jobs.clock import db_time
from astrid_site.core.models import Job
from astrid_site.core.status import JobState


def ring_due() -> int:
    """Ring for the first due jobs of each queue that nobody was told of lately.

    At most ``JOB_RING_WINDOW`` jobs per queue are rung for and unclaimed at a time: messages
    stay few however many jobs wait, and the order of the queue stays the database's.
    """
    due = Job.objects.filter(state=JobState.QUEUED, next_at__lte=db_time())
    return sum(
        _ring_queue(due.filter(queue=queue), queue)
        for queue in due.order_by().values_list("queue", flat=True).distinct()
    )


def _ring_queue(due: QuerySet[Job], queue: str) -> int:
    lately = db_time(-settings.JOB_RING_AGAIN_S)
    free = settings.JOB_RING_WINDOW - due.filter(rung_at__gte=lately).count()
    if free <= 0:
        return 0
    silent = due.exclude(rung_at__gte=lately).order_by("-priority", "created_at")
    chosen = list(silent.values_list("id", flat=True)[:free])
    if not chosen:
        return 0
    if not tasking.ring(chosen, queue=queue):
        return 0
    Job.objects.filter(id__in=chosen, state=JobState.QUEUED).update(rung_at=db_time())
    return len(chosen)
