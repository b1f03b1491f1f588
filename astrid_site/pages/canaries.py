"""What the page of a model shows of the canaries: a row for each time, and a curve over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from detection.models import CanaryResult, CanarySet, ScoringModel
from detection.services import canaries_in_use

#: Rows of the table and of the curve, the newest.
MAX_ROWS = 8
MAX_POINTS = 60
_WIDTH, _HEIGHT = 300.0, 100.0


@dataclass(frozen=True)
class CanaryRow:
    """One time a model scored the canaries."""

    result: CanaryResult

    @property
    def completeness(self) -> Mapping[str, float | None]:
        """Share of the real found: value, low, high; empty where it could not be asked."""
        found: Mapping[str, float | None] = self.result.figures.get("completeness", {})
        return found

    @property
    def false_alarms(self) -> Mapping[str, float | None]:
        """Share of the bogus let through."""
        found: Mapping[str, float | None] = self.result.figures.get("false_alarms", {})
        return found

    @property
    def found(self) -> str:
        """Completeness in per cent, with its interval."""
        return _percent(self.completeness)

    @property
    def passed(self) -> str:
        """False alarms in per cent, with their interval."""
        return _percent(self.false_alarms)

    @property
    def trouble(self) -> str:
        """What went wrong; empty where nothing did."""
        return self.result.harm or self.result.problem


@dataclass(frozen=True)
class CanaryView:
    """What the canaries say of one model.

    ``line`` and ``band`` are completeness and its interval in a box of 300 by 100, the oldest
    first; ``alarms`` the false alarms.
    """

    canary_set: CanarySet | None
    rows: list[CanaryRow]
    line: str
    band: str
    alarms: str
    margin_percent: float
    cut: float

    @property
    def latest(self) -> CanaryRow | None:
        """The newest row."""
        return self.rows[0] if self.rows else None


def canary_view(model: ScoringModel) -> CanaryView:
    """What a model said of the set in use."""
    canary_set = canaries_in_use()
    found = CanaryResult.objects.filter(model=model, canary_set=canary_set)
    results = list(found.defer("scores").order_by("-created_at")[:MAX_POINTS]) if canary_set else []
    drawn = [CanaryRow(result) for result in reversed(results) if result.figures]
    points = [row.completeness for row in drawn]
    return CanaryView(
        canary_set,
        [CanaryRow(result) for result in results[:MAX_ROWS]],
        _line([p.get("value") for p in points]),
        _band(points),
        _line([row.false_alarms.get("value") for row in drawn]),
        100 * float(settings.CANARY_MARGIN),
        float(settings.CANARY_CUT),
    )


def _percent(share: Mapping[str, Any]) -> str:
    if share.get("value") is None:
        return "–"
    value, low, high = (100 * float(share[name]) for name in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.0f} to {high:.0f})"


def _line(values: Sequence[float | None]) -> str:
    return "M" + "L".join(_points(values)) if len(values) > 1 else ""


def _band(points: Sequence[Mapping[str, float | None]]) -> str:
    if len(points) < 2:
        return ""
    low = _points([p.get("low") for p in points])
    high = _points([p.get("high") for p in points])
    return "M" + "L".join([*low, *reversed(high)]) + "Z"


def _points(values: Sequence[float | None]) -> list[str]:
    step = _WIDTH / max(len(values) - 1, 1)
    return [f"{i * step:.1f} {_HEIGHT * (1 - (v or 0.0)):.1f}" for i, v in enumerate(values)]
