"""Handlers the tests of the ledger run, and what they saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from astrid_site.core import events
from astrid_site.core.jobs import Handler, JobContext, NextJob, Outcome
from astrid_site.core.models import Job
from astrid_site.core.status import JobState

LOST: list[UUID] = []
CALLS: list[UUID] = []
_STEPS: dict[str, Callable[[JobContext], None]] = {}


def on(kind: str, step: Callable[[JobContext], None]) -> None:
    """Let jobs of the kind do the step."""
    _STEPS[kind] = step


def forget() -> None:
    """Start the next test with nothing."""
    _STEPS.clear()
    CALLS.clear()
    LOST.clear()


def lost(job: Job) -> None:
    """Note a job the ledger failed by itself."""
    LOST.append(job.id)


def _save(context: JobContext, following: Sequence[NextJob]) -> Sequence[NextJob]:
    events.publish("test.result", subject_id=context.subject_id, payload={"kind": context.kind})
    return following


def _simple(context: JobContext) -> Outcome:
    CALLS.append(context.job_id)
    if context.kind in _STEPS:
        _STEPS[context.kind](context)
    return Outcome(JobState.DONE, save=lambda: _save(context, ()))


def _first(context: JobContext) -> Outcome:
    CALLS.append(context.job_id)
    following = NextJob("second", context.subject_id, "v1")
    return Outcome(JobState.DONE, save=lambda: _save(context, [following]))


def _impossible(context: JobContext) -> Outcome:
    return Outcome(JobState.FAILED, cause="n_stars=3, n_required=5")


HANDLERS: Mapping[str, Handler] = {
    "simple": _simple,
    "first": _first,
    "second": _simple,
    "impossible": _impossible,
}
