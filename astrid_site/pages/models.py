"""What the pages of models show: who is champion, how good each is, and what it would take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from astrid_site.core.models import AuditEntry, Job
from astrid_site.pages.canaries import CanaryView, canary_view
from astrid_site.pages.curves import CurveView, draw_curves
from astrid_site.promotion import Rule, gate, headline, may_be_promoted
from detection.models import Detection, ScoringModel
from detection.services import RESCORE, models_in_service, replaced_by

#: Candidates looked at for the histograms, the newest ones.
MAX_SCORES = 2000
_BINS = 20
MAX_KINDS = 12
_ROLE_BADGES = {
    ScoringModel.Role.CHAMPION: "pass",
    ScoringModel.Role.CHALLENGER: "candidate",
    ScoringModel.Role.SHADOW: "pending",
    ScoringModel.Role.RETIRED: "cancelled",
}
#: Keys of ``headline`` -> words, and whether more is better.
_FIGURES = {
    "auc_pr": ("AUCPR", "area under precision against recall"),
    "roc_auc": ("ROC AUC", "chance that a real one scores above a bogus one"),
    "missed_at_1pct_fpr": ("Real missed", "where 1 % of the bogus pass"),
    "calibration_error": ("Calibration error", "by how much probabilities are off"),
    "brier": ("Brier score", "mean squared error of the probability"),
    "matthews": ("Matthews correlation", "at a score of 0.5"),
}
_ACTIONS = {
    "model.shipped": "came with AstrID",
    "model.registered": "was registered",
    "model.promote": "was promoted to champion",
    "model.rollback": "was made champion again",
    "model.role": "changed its part",
    "model.harm": "harmed the canaries",
}


@dataclass(frozen=True)
class ModelRow:
    """One model in the list."""

    model: ScoringModel
    badge: str
    figures: Mapping[str, Any]

    @property
    def numbers(self) -> list[tuple[str, float | None]]:
        """The three figures of its card."""
        shown = ("auc_pr", "roc_auc", "calibration_error")
        return [(_FIGURES[k][0], self.figures[k]["value"]) for k in shown if k in self.figures]


@dataclass(frozen=True)
class Figure:
    """One figure of merit with its interval as a bar from 0 to 100."""

    name: str
    title: str
    value: float | None
    low: float | None
    high: float | None

    @property
    def bar_x(self) -> float:
        """Where the interval begins."""
        return round(100 * (self.low if self.low is not None else self.value or 0.0), 2)

    @property
    def bar_width(self) -> float:
        """How long the interval is; a hair where none is known."""
        if self.low is None or self.high is None:
            return 0.6
        return max(0.6, round(100 * (self.high - self.low), 2))

    @property
    def at(self) -> float:
        """Where the value stands."""
        return round(100 * (self.value or 0.0), 2)


@dataclass(frozen=True)
class Kind:
    """How one kind of candidate fares."""

    where: str
    name: str
    is_real: bool
    n: int
    share: float

    @property
    def wrong(self) -> float:
        """Share on the wrong side of 0.5, in per cent."""
        return 100 * (1 - self.share if self.is_real else self.share)


@dataclass(frozen=True)
class Histogram:
    """Scores of the newest candidates, bars in a box of 100 by 40."""

    bars: str
    n: int


@dataclass(frozen=True)
class Happening:
    """One line of a model's history."""

    entry: AuditEntry
    says: str


@dataclass(frozen=True)
class ModelPage:
    """Everything on the page of one model."""

    row: ModelRow
    champion: ScoringModel | None
    figures: list[Figure]
    counts: Mapping[str, Any]
    curves: list[CurveView]
    kinds: list[Kind]
    histogram: Histogram
    facts: list[tuple[str, str]]
    gate: list[Rule]
    is_gate_open: bool
    history: list[Happening]
    before: ScoringModel | None
    job: Job | None
    canaries: CanaryView

    @property
    def hard_kinds(self) -> list[Kind]:
        """Those that it gets wrong most often."""
        return self.kinds[:MAX_KINDS]

    @property
    def other_kinds(self) -> list[Kind]:
        """The rest, folded away."""
        return self.kinds[MAX_KINDS:]


def model_rows() -> list[ModelRow]:
    """Models in service, the champion first, then retired ones, the latest first."""
    retired = ScoringModel.objects.filter(role=ScoringModel.Role.RETIRED)
    return [_row(m) for m in [*models_in_service(), *retired.order_by("-role_since")]]


def _row(model: ScoringModel) -> ModelRow:
    return ModelRow(model, _ROLE_BADGES[ScoringModel.Role(model.role)], headline(model))


def model_page(model: ScoringModel) -> ModelPage:
    """Gather the page of one model."""
    champion = ScoringModel.objects.filter(role=ScoringModel.Role.CHAMPION).first()
    is_champion = champion is not None and champion.pk == model.pk
    rules = [] if is_champion else gate(model, champion)
    figures = headline(model)
    return ModelPage(
        row=_row(model),
        champion=None if is_champion else champion,
        figures=[_figure(name, figures[name]) for name in _FIGURES if name in figures],
        counts=figures,
        curves=draw_curves(_point_sets(model)),
        kinds=_kinds(model),
        histogram=_histogram(model),
        facts=_facts(model),
        gate=rules,
        is_gate_open=may_be_promoted(rules) if rules else False,
        history=[_happening(entry) for entry in _entries(model)],
        before=replaced_by(model) if is_champion else None,
        job=Job.objects.filter(kind=RESCORE, subject_id=model.pk).first(),
        canaries=canary_view(model),
    )


def _figure(name: str, told: Mapping[str, Any]) -> Figure:
    words, title = _FIGURES[name]
    return Figure(words, title, told["value"], told["low"], told["high"])


def _point_sets(model: ScoringModel) -> dict[str, Mapping[str, Any]]:
    """Curves that the report keeps, by the name of the samples they were judged on."""
    parts = {
        "simulated skies": model.report.get("simulated", {}),
        "its test side": _held_out(model),
        "the network before, there": model.report.get("start", {}),
        "ZTF, never seen": model.report.get("unseen_survey", {}),
        "ZTF, five folds": model.report.get("grouped_folds", {}),
    }
    return {name: part["curves"] for name, part in parts.items() if part.get("curves")}


def _held_out(model: ScoringModel) -> Mapping[str, Any]:
    """What was held out of a training on labels; other reports keep figures alone under it."""
    found: Mapping[str, Any] = model.report.get("held_out", {})
    return found if "surveys" in found else {}


def _kinds(model: ScoringModel) -> list[Kind]:
    """Kinds of the held-out samples, the hardest first."""
    surveys = (model.report.get("simulated") or _held_out(model)).get("surveys", {})
    tables = {name: part.get("kinds", {}) for name, part in surveys.items()}
    tables["ZTF, never seen"] = model.report.get("unseen_survey", {}).get("kinds", {})
    kinds = [
        Kind(where, name, row["is_real"], row["n"], row["above_half"])
        for where, table in tables.items()
        for name, row in table.items()
    ]
    return sorted(kinds, key=lambda kind: -kind.wrong)


def _histogram(model: ScoringModel) -> Histogram:
    """What the model said of the newest kept candidates."""
    key = str(model.pk)
    rows: QuerySet[Detection] = Detection.objects.filter(is_kept=True).order_by("-created_at", "id")
    counts = [0] * _BINS
    for said in rows.values_list("model_scores", flat=True)[:MAX_SCORES]:
        for each in said:
            if each["model"] == key and each["score"] is not None:
                counts[min(int(each["score"] * _BINS), _BINS - 1)] += 1
    most, step = max(*counts, 1), 100 / _BINS
    bars = "".join(
        f"M{i * step + 0.4:g} 40V{40 - 38 * n / most:.2f}H{(i + 1) * step - 0.4:g}V40Z"
        for i, n in enumerate(counts)
        if n
    )
    return Histogram(bars, sum(counts))


def _facts(model: ScoringModel) -> list[tuple[str, str]]:
    """How the weights came about, as far as their record tells."""
    record = model.record.get("record", {})
    plan = record.get("plan", {})
    told = {
        "Weights": f"SHA-256 {model.sha256}",
        "Members": model.record.get("n_members"),
        "Training samples": record.get("n_training"),
        "Real alerts among them": record.get("n_alerts"),
        "Real and bogus": f"{record['n_real']} and {record['n_bogus']}"
        if "n_real" in record
        else None,
        "Data set": record.get("dataset_sha256", "")[:12] or None,
        "Went on from": plan.get("start_sha256", "")[:12] or None,
        "Labels from": record.get("dataset", {}).get("name"),
        "Energy": _energy(record.get("energy")),
    }
    return [(name, str(value)) for name, value in told.items() if value is not None]


def _energy(told: Mapping[str, Any] | None) -> str | None:
    """Energy of the training in words; None where nothing is told of it."""
    if told is None:
        return None
    if told["joules"] is None:
        return "not known: no meter there"
    return f"{told['joules'] / 3600:.2f} Wh, {told['source']}"


def _entries(model: ScoringModel) -> QuerySet[AuditEntry]:
    rows = AuditEntry.objects.filter(
        subject_type=model._meta.label_lower, subject_id=str(model.pk), action__in=_ACTIONS
    )
    return rows.select_related("actor").order_by("-id")[:50]


def _happening(entry: AuditEntry) -> Happening:
    says = _ACTIONS[entry.action]
    if entry.action == "model.role":
        says = f"went from {entry.before.get('role')} to {entry.after.get('role')}"
    elif entry.before.get("model"):
        says += f", in place of {entry.before['model']}"
    if entry.after.get("reason"):
        says += f": {entry.after['reason']}"
    return Happening(entry, says)
