"""Champion against another model in service: what each says, where they disagree, who is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from django.db.models import QuerySet
from django.utils import timezone

from astrid_site.pages.canaries import CanaryRow
from astrid_site.promotion import Rule, gate, judged_by_people, may_be_promoted
from curation.models import Verdict
from curation.selectors import current_verdicts
from detection.models import Detection, ScoringModel
from detection.pages import CutoutView, view_cutouts
from detection.services import canaries_in_use, latest_result
from detection.training.drift import Drift, measure_drift

#: Candidates looked at, the newest; and shown, those with the greatest disagreement.
MAX_SCATTERED, MAX_SHOWN = 800, 8
#: Drift compares the candidates of the first weeks with those of the last days.
FIRST_WEEKS, LAST_DAYS, MAX_DRIFTING = timedelta(weeks=4), timedelta(days=7), 600
#: A new training is proposed from so many verdicts since the champion came.
RETRAIN_VERDICTS = 200
_MAX_FEATURES = 6
_WORDS = {"auc_pr": "AUCPR", "roc_auc": "ROC AUC", "calibration_error": "Calibration error"}
_REAL = (Verdict.Label.REAL, Verdict.Label.VARIABLE, Verdict.Label.MOVING)


@dataclass(frozen=True)
class Dot:
    """One candidate in a box of 100 by 100: the champion's score to the right, the other's up."""

    x: float
    y: float
    kind: str


@dataclass(frozen=True)
class Disagreement:
    """One candidate that the two see differently."""

    detection: Detection
    cutouts: CutoutView
    champion: float
    other: float


@dataclass(frozen=True)
class Pair:
    """One figure of both, and by how much the other is above, in words."""

    name: str
    champion: str
    other: str


@dataclass(frozen=True)
class Drifting:
    """How one feature or score moved."""

    name: str
    drift: Drift


@dataclass(frozen=True)
class Comparison:
    """Everything on the page."""

    model: ScoringModel
    champion: ScoringModel
    dots: list[Dot]
    agreeing: float | None
    disagreements: list[Disagreement]
    verdicts: str
    figures: list[Pair]
    canaries: list[Pair]
    gate: list[Rule]
    is_gate_open: bool
    drift: list[Drifting]
    drift_says: str
    proposal: str


def compare_models(model: ScoringModel, champion: ScoringModel) -> Comparison:
    """Gather the page."""
    pairs = _scored_by_both(model, champion)
    rules = gate(model, champion)
    verdicts, figures = _by_people(model, champion)
    drift, drift_says = _drift(champion)
    return Comparison(
        model,
        champion,
        _dots(pairs),
        float(np.mean([(a >= 0.5) == (b >= 0.5) for _, a, b in pairs])) if pairs else None,
        _disagreements(pairs),
        verdicts,
        figures,
        _by_canaries(model, champion),
        rules,
        may_be_promoted(rules),
        drift,
        drift_says,
        _proposal(champion, drift),
    )


def _scored_by_both(model: ScoringModel, champion: ScoringModel) -> list[tuple[Any, float, float]]:
    """Key and both scores of the newest kept candidates that both scored."""
    rows = Detection.objects.filter(is_kept=True).order_by("-created_at", "id")
    pairs = []
    for key, said in rows.values_list("pk", "model_scores")[:MAX_SCATTERED]:
        scores = {str(each["model"]): each["score"] for each in said}
        ours, theirs = scores.get(str(champion.pk)), scores.get(str(model.pk))
        if ours is not None and theirs is not None:
            pairs.append((key, float(ours), float(theirs)))
    return pairs


def _dots(pairs: Sequence[tuple[Any, float, float]]) -> list[Dot]:
    verdicts = current_verdicts([key for key, _, _ in pairs]).exclude(label=Verdict.Label.UNSURE)
    kinds = {
        key: "real" if label in _REAL else "bogus"
        for key, label in verdicts.order_by("created_at").values_list("detection_id", "label")
    }
    return [
        Dot(round(100 * a, 1), round(100 * (1 - b), 1), kinds.get(key, "open"))
        for key, a, b in pairs
    ]


def _disagreements(pairs: Sequence[tuple[Any, float, float]]) -> list[Disagreement]:
    far = sorted(pairs, key=lambda pair: -abs(pair[1] - pair[2]))[:MAX_SHOWN]
    rows = Detection.objects.select_related("observation").in_bulk([key for key, _, _ in far])
    return [Disagreement(rows[key], view_cutouts(rows[key]), a, b) for key, a, b in far]


def _by_people(model: ScoringModel, champion: ScoringModel) -> tuple[str, list[Pair]]:
    """Figures of both on candidates that people decided; none where one kind is missing."""
    found = judged_by_people(model, champion)
    n_real, n_bogus = int(found.is_real.sum()), int((~found.is_real).sum())
    says = f"{n_real} real and {n_bogus} bogus that both scored and people decided"
    if not n_real or not n_bogus:
        return says, []
    from detection.training.metrics import compare, judge

    names = tuple(_WORDS)
    ours = judge(found.other, found.is_real, group=found.group, names=names)
    theirs = judge(found.score, found.is_real, group=found.group, names=names)
    gain = compare(found.score, found.other, found.is_real, group=found.group)
    pairs = [Pair(_WORDS[name], _told(ours[name]), _told(theirs[name])) for name in names]
    return says, [*pairs, Pair("AUCPR above the champion", "–", _told(gain))]


def _by_canaries(model: ScoringModel, champion: ScoringModel) -> list[Pair]:
    canary_set = canaries_in_use()
    if canary_set is None:
        return []
    results = [latest_result(each, canary_set) for each in (champion, model)]
    rows = [CanaryRow(result) if result is not None else None for result in results]
    ours, theirs = rows
    return [
        Pair("Real found", ours.found if ours else "–", theirs.found if theirs else "–"),
        Pair("Bogus passing", ours.passed if ours else "–", theirs.passed if theirs else "–"),
    ]


def _drift(champion: ScoringModel) -> tuple[list[Drifting], str]:
    """How the score and the features moved, those that moved most first."""
    rows = Detection.objects.filter(is_kept=True)
    first = rows.order_by("created_at").values_list("created_at", flat=True).first()
    if first is None:
        return [], "nothing was found yet"
    recent = timezone.now() - LAST_DAYS
    before = _values(rows.filter(created_at__lt=min(first + FIRST_WEEKS, recent)), champion)
    now = _values(rows.filter(created_at__gte=recent), champion)
    says = (
        f"{len(before)} candidates of the first weeks, {len(now)} of the last {LAST_DAYS.days} days"
    )
    names = sorted({name for row in [*before, *now] for name in row} - {"score"})
    found = [Drifting(n, measure_drift(_column(before, n), _column(now, n))) for n in names]
    known = sorted((f for f in found if f.drift.psi is not None), key=lambda f: -(f.drift.psi or 0))
    score = Drifting("score", measure_drift(_column(before, "score"), _column(now, "score")))
    return [score, *known[:_MAX_FEATURES]], says


def _values(rows: QuerySet[Detection], champion: ScoringModel) -> list[Mapping[str, Any]]:
    """Features and the champion's score of at most so many candidates, drawn evenly in time."""
    key = str(champion.pk)
    told = rows.order_by("created_at", "id").values_list("features", "model_scores")
    found = list(told[: 4 * MAX_DRIFTING])
    step = max(1, len(found) // MAX_DRIFTING)
    return [
        {**features, "score": next((s["score"] for s in said if s["model"] == key), None)}
        for features, said in found[::step]
    ]


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    values = [row.get(name) for row in rows]
    return np.array([v if isinstance(v, int | float) else np.nan for v in values], dtype=np.float64)


def _proposal(champion: ScoringModel, drift: Sequence[Drifting]) -> str:
    """Why to train anew; empty where nothing says so."""
    n = current_verdicts().filter(created_at__gte=champion.role_since).count()
    moved = [each.name.replace("_", " ") for each in drift if each.drift.is_notable]
    if n >= RETRAIN_VERDICTS:
        return f"{n} verdicts were given since it became champion"
    return f"what it sees has changed ({', '.join(moved[:3])})" if moved else ""


def _told(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None:
        return "–"
    text = f"{figure['value']:.3f}"
    low, high = figure["low"], figure["high"]
    return text if low is None or high is None else f"{text} ({low:.3f} to {high:.3f})"
