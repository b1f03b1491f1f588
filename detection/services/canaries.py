"""Canaries: kept by their content, scored by every model in service, and what that shows."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from astrid_site.core import jobs
from astrid_site.core.errors import ApplicationError
from astrid_site.core.jobs import NextJob
from astrid_site.core.models import FileKind, Job
from astrid_site.core.provenance import code_version
from astrid_site.core.stages import Progress
from astrid_site.core.storage import local_copy, put_bytes
from detection.models import CanaryResult, CanarySet, ScoringModel
from detection.services.scoring import score_afresh

if TYPE_CHECKING:
    from detection.networks.scoring import ModelScore
    from detection.training.canaries import Canaries
    from detection.training.canary_rule import Harm

CANARIES = "canaries"
Occasion = CanaryResult.Occasion
#: Before candidates are scored anew: a bad model must not show its scores first.
_PRIORITY = 10


def request_canaries(model: ScoringModel) -> Job:
    """Have a worker let a model score the canaries, in the caller's transaction."""
    job = NextJob(kind=CANARIES, subject_id=model.pk, config_version="1", priority=_PRIORITY)
    return jobs.submit(job, revive=True)


def canaries_in_use() -> CanarySet | None:
    """The newest set; None until the first is made."""
    return CanarySet.objects.select_related("file").order_by("-created_at").first()


def make_canaries(progress: Progress) -> CanarySet:
    """Simulate the set that a new installation begins with; half a minute."""
    from detection.training.canaries import FIRST_SEED, simulate_canaries

    made = simulate_canaries(progress=progress)
    return keep_canaries(made, recipe={"simulated": True, "seed": FIRST_SEED})


def keep_canaries(canaries: Canaries, *, recipe: dict[str, Any]) -> CanarySet:
    """Keep a set by its content; the same canaries again are the same set."""
    file = put_bytes(
        canaries.to_bytes(),
        kind=FileKind.CUTOUTS,
        name="canaries.npz",
        media_type="application/x-npz",
    )
    kept, _ = CanarySet.objects.get_or_create(
        file=file,
        defaults={
            "n_real": canaries.n_real,
            "n_bogus": canaries.n_bogus,
            "recipe": recipe | {"code_version": code_version()},
        },
    )
    return kept


def read_canaries(canary_set: CanarySet) -> Canaries:
    """The canaries of a set, verified by their hash once for each process."""
    return _read(canary_set.pk)


@lru_cache(maxsize=1)
def _read(key: UUID) -> Canaries:
    from detection.training.canaries import Canaries

    canary_set = CanarySet.objects.select_related("file").get(pk=key)
    with local_copy(canary_set.file) as path:
        return Canaries.from_bytes(path.read_bytes())


def examine(model: ScoringModel, canary_set: CanarySet) -> CanaryResult:
    """What a model says of the canaries now, its weights read and verified anew; not saved yet.

    Raises
    ------
    TransientError
        If the object store does not answer: that is no fault of the model.
    """
    canaries = read_canaries(canary_set)
    result = CanaryResult(
        model=model,
        canary_set=canary_set,
        occasion=_occasion(model, canary_set),
        role=model.role,
        cut=settings.CANARY_CUT,
        scores=[None] * len(canaries),
    )
    began = time.perf_counter()
    try:
        said = score_afresh(model, canaries.features, canaries.cutouts)
    except (ApplicationError, ValueError, KeyError, RuntimeError) as error:
        result.problem = f"{model} gives no scores: {error}"
        return result
    result.ms_per_candidate = 1000 * (time.perf_counter() - began) / max(len(canaries), 1)
    result.scores = [None if each.score is None else round(each.score, 6) for each in said]
    result.figures = _figures(said, canaries)
    return result


def _occasion(model: ScoringModel, canary_set: CanarySet) -> CanaryResult.Occasion:
    earlier = CanaryResult.objects.filter(model=model, canary_set=canary_set)
    if not earlier.exists():
        return Occasion.REGISTRATION
    if not earlier.filter(role=model.role, created_at__gte=model.role_since).exists():
        return Occasion.PART
    return Occasion.ROUND


def _figures(said: list[ModelScore], canaries: Canaries) -> dict[str, Any]:
    from dataclasses import asdict

    from detection.training.canary_rule import figures
    from detection.training.metrics import judge

    score = np.array([np.nan if s.score is None else s.score for s in said], dtype=np.float64)
    told = asdict(figures(score, canaries.is_real, cut=settings.CANARY_CUT))
    areas = judge(score, canaries.is_real, group=canaries.group, names=("roc_auc", "auc_pr"))
    return told | {name: areas[name] for name in ("roc_auc", "auc_pr")}


def latest_result(model: ScoringModel, canary_set: CanarySet) -> CanaryResult | None:
    """What a model said of a set last; None where it was not asked."""
    rows = CanaryResult.objects.filter(model=model, canary_set=canary_set)
    return rows.order_by("-created_at").first()


def result_at_promotion(champion: ScoringModel, canary_set: CanarySet) -> CanaryResult | None:
    """The first that a champion said of a set since it has its place."""
    rows = CanaryResult.objects.filter(
        model=champion,
        canary_set=canary_set,
        role=ScoringModel.Role.CHAMPION,
        created_at__gte=champion.role_since,
    )
    return rows.order_by("created_at").first()


def compare_results(now: CanaryResult, before: CanaryResult, *, than: str) -> Harm:
    """What one result does worse than another on the same canaries."""
    from detection.training.canary_rule import judge_harm

    return judge_harm(
        scores_of(now),
        scores_of(before),
        read_canaries(now.canary_set).is_real,
        cut=now.cut,
        margin=settings.CANARY_MARGIN,
        than=than,
    )


def find_harm(
    now: CanaryResult, *, at_promotion: CanaryResult | None, before: CanaryResult | None
) -> str:
    """Why a champion must go, in words; empty where it may stay.

    It is judged by the champion before it and by itself when it was promoted, whichever is known.
    """
    if now.problem:
        return now.problem
    if not any(score is not None for score in now.scores):
        return "it gives no canary a score"
    judges = [(before, "the champion before it"), (at_promotion, "when it was promoted")]
    found = [
        compare_results(now, by, than=than).says
        for by, than in judges
        if by is not None and not by.problem
    ]
    return next((says for says in found if says), "")


def scores_of(result: CanaryResult) -> NDArray[np.float64]:
    """Scores in the order of the set, NaN where there is none."""
    values = [np.nan if score is None else score for score in result.scores]
    return np.array(values, dtype=np.float64)
