"""A model's way to the front: the gate it must pass, the person who opens it, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from django.db import transaction

from astrid_site.core.errors import ApplicationError, ConflictError
from astrid_site.core.events import publish
from astrid_site.core.jobs import JobContext, NextJob, Outcome
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from catalog.services import refresh_best_scores
from curation.models import Verdict
from curation.selectors import current_verdicts
from detection import services
from detection.models import DetectionRun, ScoringModel
from detection.services.datasets import learnt_sky

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

#: Least average precision on held-out samples, greatest error of the probabilities.
MIN_AUC_PR, MAX_CALIBRATION_ERROR = 0.92, 0.05
MAX_MS_PER_CANDIDATE = 20
#: So many real and as many bogus must people have called before their verdicts say anything.
MIN_VERDICTS = 20
_REAL = (Verdict.Label.REAL, Verdict.Label.VARIABLE, Verdict.Label.MOVING)


@dataclass(frozen=True)
class Rule:
    """One condition of the gate; ``is_met`` None where nothing can be said yet."""

    name: str
    says: str
    is_met: bool | None
    is_needed: bool = False
    is_comparison: bool = False


@dataclass(frozen=True)
class Judged:
    """Candidates that people decided, with two models' scores of each."""

    score: np.ndarray
    other: np.ndarray
    is_real: np.ndarray
    group: np.ndarray


class GateShutError(ConflictError):
    """The gate is shut; carries its rules, the met ones too."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        shut = "; ".join(f"{rule.name}: {rule.says}" for rule in rules if not rule.is_met)
        super().__init__(f"the gate is shut: {shut}")
        self.rules = rules


def headline(model: ScoringModel) -> Mapping[str, Any]:
    """Figures of a model on what was held out of its training; empty where none are kept."""
    report = model.report
    found = report["simulated"]["all"] if "simulated" in report else report.get("held_out", {})
    found = found.get("all", found)
    return {
        name: value if isinstance(value, Mapping) else {"value": value, "low": None, "high": None}
        for name, value in found.items()
    }


def gate(model: ScoringModel, champion: ScoringModel | None) -> list[Rule]:
    """What a model must meet to become champion; see ``may_be_promoted``."""
    needed = [_weights_rule(model), _precision_rule(model)]
    rules = [replace(rule, is_needed=True) for rule in needed]
    rules += [_calibration_rule(model), *canary_rules(model, champion)]
    if champion is not None:
        comparisons = [_held_out_rule(model, champion), _verdict_rule(model, champion)]
        rules += [replace(rule, is_comparison=True) for rule in comparisons]
    return rules


def may_be_promoted(rules: Sequence[Rule]) -> bool:
    """Whether the gate is open.

    No rule may fail, weights and precision must hold, and where there is a champion at least one
    of the two comparisons with it must have been made.
    """
    comparisons = [rule for rule in rules if rule.is_comparison]
    return (
        all(rule.is_met is not False for rule in rules)
        and all(rule.is_met for rule in rules if rule.is_needed)
        and (not comparisons or any(rule.is_met for rule in comparisons))
    )


def promote(model: ScoringModel, actor: User) -> Job:
    """Make a model champion if the gate is open; a worker then shows its scores everywhere.

    Raises
    ------
    GateShutError
        With the rules that shut it.
    ConflictError
        If it is the champion already.
    """
    champion = ScoringModel.objects.filter(role=ScoringModel.Role.CHAMPION).first()
    rules = gate(model, champion)
    if not may_be_promoted(rules):
        raise GateShutError(rules)
    with transaction.atomic():
        services.promote(model, actor, gate=[f"{rule.name}: {rule.says}" for rule in rules])
        return _begin_to_show(model)


def roll_back(actor: User | None, *, reason: str) -> Job:
    """Give the place back to the champion before; a worker then shows its scores again.

    Without an actor it is the machine's doing.
    """
    with transaction.atomic():
        return _begin_to_show(services.roll_back(actor, reason=reason), reason=reason)


def _begin_to_show(model: ScoringModel, *, reason: str = "") -> Job:
    told = {"champion": str(model)} | ({"rolled_back": reason} if reason else {})
    publish("model.changed", subject_id=model.pk, payload=told)
    return services.request_rescore(model)


def run_rescore(context: JobContext) -> Outcome:
    """Show the present champion's scores on every stored candidate, search by search.

    Each search is saved as it is done: after a kill those that are up to date change no more.
    """
    keys = list(DetectionRun.objects.order_by("-created_at").values_list("pk", flat=True))
    n_changed = 0
    for i, key in enumerate(keys):
        context.progress(i / len(keys), f"search {i + 1} of {len(keys)}")
        run = DetectionRun.objects.select_related("cutouts_file").get(pk=key)
        n_changed += services.rescore_run(run)

    def save() -> Sequence[NextJob]:
        refresh_best_scores()
        publish("model.changed", subject_id=context.subject_id, payload={"changed": n_changed})
        return ()

    return Outcome(JobState.DONE, save=save)


def judged_by_people(model: ScoringModel, other: ScoringModel) -> Judged:
    """Candidates with a standing verdict that both models scored; the latest answer counts.

    Those that either has learnt from, and all others in their sky cells, are left out.
    """
    verdicts = current_verdicts().exclude(label=Verdict.Label.UNSURE)
    latest = {v.detection_id: v for v in verdicts.order_by("created_at", "sequence")}
    learnt = learnt_sky(model) | learnt_sky(other)
    rows = []
    for verdict in latest.values():
        said = {str(s["model"]): s["score"] for s in verdict.detection.model_scores}
        scores = said.get(str(model.pk)), said.get(str(other.pk))
        if scores[0] is not None and scores[1] is not None:
            # frames of one sky share their stars: they are drawn together
            sky = verdict.detection.healpix14
            group = str(verdict.detection_id) if sky is None else str(sky >> 12)
            if group not in learnt:
                rows.append((*scores, verdict.label in _REAL, group))
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return Judged(
        np.array(columns[0], dtype=np.float64),
        np.array(columns[1], dtype=np.float64),
        np.array(columns[2], dtype=bool),
        np.array(columns[3], dtype="U40"),
    )


def _weights_rule(model: ScoringModel) -> Rule:
    name = "The weights are those that were judged"
    try:
        services.verify_weights(model)
    except ApplicationError as error:
        return Rule(name, str(error), False)
    return Rule(name, f"SHA-256 {model.sha256[:12]}… read and verified", True)


def _precision_rule(model: ScoringModel) -> Rule:
    name = f"AUCPR of {MIN_AUC_PR} on held-out samples"
    figure = headline(model).get("auc_pr")
    if figure is None or figure["value"] is None:
        return Rule(name, "no report came with these weights", None)
    return Rule(name, _interval(figure), figure["value"] >= MIN_AUC_PR)


def _calibration_rule(model: ScoringModel) -> Rule:
    name = f"Probabilities are off by {MAX_CALIBRATION_ERROR} at most"
    figure = headline(model).get("calibration_error")
    if figure is None or figure["value"] is None:
        return Rule(name, "no report came with these weights", None)
    return Rule(name, _interval(figure), figure["value"] <= MAX_CALIBRATION_ERROR)


def canary_rules(model: ScoringModel, champion: ScoringModel | None) -> list[Rule]:
    """What the canaries say of a model, and how long it takes."""
    name, pace = "No harm to the canaries", f"At most {MAX_MS_PER_CANDIDATE} ms for a candidate"
    canary_set = services.canaries_in_use()
    now = services.latest_result(model, canary_set) if canary_set else None
    if now is None:
        says = "it has not scored them yet" if canary_set else "there are none yet"
        return [Rule(name, says, None), Rule(pace, says, None)]
    before = services.latest_result(champion, now.canary_set) if champion else None
    harm = services.find_harm(now, at_promotion=None, before=before)
    ms = now.ms_per_candidate
    found = now.figures.get("completeness")
    says = harm or f"{_percent(found)} of the real found at {now.cut:g}"
    speed = Rule(pace, "not measured", None)
    if ms is not None:
        speed = Rule(pace, f"{ms:.1f} ms measured", ms <= MAX_MS_PER_CANDIDATE)
    return [Rule(name, says, not harm), speed]


def _held_out_rule(model: ScoringModel, champion: ScoringModel) -> Rule:
    name = "Not worse than the champion on the same held-out samples"
    same = model.report.get("dataset_sha256")
    if same is None or same != champion.report.get("dataset_sha256"):
        return Rule(name, "the two were judged on different data sets", None)
    ours, theirs = headline(model)["auc_pr"], headline(champion)["auc_pr"]
    says = f"{_interval(ours)} against {_interval(theirs)}"
    least = theirs["low"] if theirs["low"] is not None else theirs["value"]
    return Rule(name, says, ours["value"] >= least)


def _verdict_rule(model: ScoringModel, champion: ScoringModel) -> Rule:
    name = "Not worse than the champion by people's verdicts"
    if model.pk == champion.pk:
        return Rule(name, "it is the champion", None)
    found = judged_by_people(model, champion)
    n_real, n_bogus = int(found.is_real.sum()), int((~found.is_real).sum())
    counts = f"{n_real} real and {n_bogus} bogus that both scored"
    if min(n_real, n_bogus) < MIN_VERDICTS:
        return Rule(name, f"{counts}; {MIN_VERDICTS} of each are needed", None)
    from detection.training.metrics import compare

    gain = compare(found.score, found.other, found.is_real, group=found.group)
    is_met = None if gain["high"] is None else gain["high"] >= 0.0
    return Rule(name, f"AUCPR {_interval(gain)} above it, on {counts}", is_met)


def _percent(figure: Mapping[str, float | None]) -> str:
    value, low, high = (100 * (figure[name] or 0.0) for name in ("value", "low", "high"))
    return f"{value:.0f} % ({low:.0f} to {high:.0f} %)"


def _interval(figure: Mapping[str, float | None]) -> str:
    text = f"{figure['value']:.3f}"
    low, high = figure["low"], figure["high"]
    return text if low is None or high is None else f"{text} ({low:.3f} to {high:.3f})"
