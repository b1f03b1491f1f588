"""The watch over the models: each scores the canaries, and one that harms them goes by itself."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from astrid_site import promotion
from astrid_site.core import audit
from astrid_site.core.errors import ConflictError
from astrid_site.core.events import publish
from astrid_site.core.jobs import JobContext, NextJob, Outcome
from astrid_site.core.jobs.clock import db_time
from astrid_site.core.models import Job
from astrid_site.core.status import TERMINAL_JOBS, JobState
from detection import services
from detection.models import CanaryResult, DetectionRun, ScoringModel

Role = ScoringModel.Role


def begin_round_when_due() -> list[Job]:
    """Have every model in service score the canaries whose last time is long enough ago.

    Before the first search there is nothing that a bad champion could harm. Simulating the first
    canaries takes a worker a minute: for one round's time, frames that wait go first.
    """
    searches = DetectionRun.objects.all()
    if services.canaries_in_use() is None and _others_wait():
        searches = searches.filter(created_at__lt=db_time(-settings.CANARY_EVERY_S))
    if not searches.exists():
        return []
    recent = Job.objects.filter(kind=services.CANARIES).exclude(
        state__in=TERMINAL_JOBS, finished_at__lt=db_time(-settings.CANARY_EVERY_S)
    )
    busy = set(recent.values_list("subject_id", flat=True))
    due = [model for model in services.models_in_service() if model.pk not in busy]
    return [services.request_canaries(model) for model in due]


def _others_wait() -> bool:
    return Job.objects.exclude(kind=services.CANARIES).exclude(state__in=TERMINAL_JOBS).exists()


def run_canaries(context: JobContext) -> Outcome:
    """Let one model score the canaries; a champion that harms them is rolled back."""
    model = ScoringModel.objects.select_related("file").filter(pk=context.subject_id).first()
    if model is None or model.role == Role.RETIRED:
        return Outcome(JobState.SKIPPED, cause="the model is not in service any more")
    canary_set = services.canaries_in_use() or services.make_canaries(context.progress)
    context.progress(0.8, "scoring the canaries")
    now = services.examine(model, canary_set)
    before = services.replaced_by(model) if model.role == Role.CHAMPION else None
    others = []
    if before is not None and services.latest_result(before, canary_set) is None:
        others.append(services.examine(before, canary_set))

    def save() -> Sequence[NextJob]:
        for other in others:
            other.save()
        _keep(now, before)
        return ()

    return Outcome(JobState.DONE, save=save)


def _keep(now: CanaryResult, before: ScoringModel | None) -> None:
    """Write down what was found, and act on it; in the transaction that ends the job."""
    model = ScoringModel.objects.select_for_update().get(pk=now.model_id)
    is_champion = model.role == Role.CHAMPION
    if is_champion:
        now.harm = services.find_harm(
            now,
            at_promotion=services.result_at_promotion(model, now.canary_set),
            before=services.latest_result(before, now.canary_set) if before else None,
        )
    now.save()
    publish(
        "model.canaries", subject_id=model.pk, payload={"harm": now.harm, "problem": now.problem}
    )
    if is_champion and now.harm:
        _throw_out(model, now.harm)
    elif now.problem and model.role != Role.RETIRED:
        services.set_role(model, Role.RETIRED, None, reason=now.problem)


def _throw_out(champion: ScoringModel, harm: str) -> None:
    """Roll back without a person; where there is nobody to go back to, say so."""
    reason = f"rolled back by itself because {harm}"
    try:
        promotion.roll_back(None, reason=reason)
    except ConflictError as error:
        reason = f"{harm}; it stays, because {error}"
    audit.record(None, "model.harm", champion, after={"reason": reason})
    publish("model.harm", subject_id=champion.pk, payload={"reason": reason})
