"""Light jobs for the kill storm: three stages, each of which leaves one mark for ever."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from astrid_site.core import events
from astrid_site.core.jobs import Handler, JobContext, NextJob, Outcome
from astrid_site.core.models import Job
from astrid_site.core.status import JobState

STAGES = ("storm1", "storm2", "storm3")
STEPS = 4
STEP_S = 0.05


def _stage(following: str | None) -> Handler:
    def work(context: JobContext) -> Outcome:
        for step in range(STEPS):
            time.sleep(STEP_S)
            context.progress(step / STEPS, f"step {step}")
        return Outcome(JobState.DONE, save=_save(context, following))

    return work


def _save(context: JobContext, following: str | None) -> Callable[[], Sequence[NextJob]]:
    def save() -> Sequence[NextJob]:
        events.publish(
            "storm.result", subject_id=context.subject_id, payload={"kind": context.kind}
        )
        return [NextJob(following, context.subject_id, "v1")] if following else []

    return save


def _poison(context: JobContext) -> Outcome:
    os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(JobState.DONE)


def lost(job: Job) -> None:
    """Leave a mark for a job the ledger gave up."""
    events.publish("storm.lost", subject_id=job.subject_id, payload={"kind": job.kind})


HANDLERS: Mapping[str, Handler] = {
    "storm1": _stage("storm2"),
    "storm2": _stage("storm3"),
    "storm3": _stage(None),
    "poison": _poison,
}


def begin_nothing() -> None:
    """Nothing recurs."""
