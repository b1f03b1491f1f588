"""The curves of a model's figures, drawn from the points that its report keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from astrid_site.pages.score_histogram import Tick

SIZE = 220.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 42.0, 216.0, 6.0, 186.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
#: A circle of the reliability curve holds at least this much [viewbox units].
_MIN_RADIUS, _MAX_RADIUS = 2.0, 6.0


@dataclass(frozen=True)
class Line:
    """One set's curve: its path and the name in the legend."""

    name: str
    path: str
    series: int


@dataclass(frozen=True)
class Circle:
    """A tenth of the scores, as large as it is well filled."""

    x: float
    y: float
    radius: float
    text: str


@dataclass(frozen=True)
class CurveView:
    """One square chart, both axes from 0 to 1."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    circles: tuple[Circle, ...]
    diagonal: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    says: str


def draw_curves(sets: Mapping[str, Mapping[str, Any]]) -> list[CurveView]:
    """ROC, precision and reliability of each named set that has points; empty without any."""
    if not sets:
        return []
    return [
        _chart(
            "Real passing against bogus passing",
            "bogus passing",
            "real passing",
            _lines(sets, "roc"),
            diagonal=f"M{_LEFT} {_BOTTOM}L{_RIGHT} {_TOP}",
        ),
        _chart("Precision against recall", "recall", "precision", _lines(sets, "pr")),
        _reliability(sets),
    ]


def _chart(
    title: str,
    x_label: str,
    y_label: str,
    lines: tuple[Line, ...],
    *,
    circles: tuple[Circle, ...] = (),
    diagonal: str = "",
) -> CurveView:
    return CurveView(
        title=title,
        x_label=x_label,
        y_label=y_label,
        lines=lines,
        circles=circles,
        diagonal=diagonal,
        x_ticks=tuple(Tick(_x(t), f"{t:g}") for t in _TICKS),
        y_ticks=tuple(Tick(_y(t), f"{t:g}") for t in _TICKS),
        says=f"{title}: {', '.join(line.name for line in lines)}",
    )


def _reliability(sets: Mapping[str, Mapping[str, Any]]) -> CurveView:
    """Share that is real against the score; the circles are those of the first set."""
    name, first = next(iter(sets.items()))
    rows = first["reliability"]
    most = max(count for _, _, count in rows)
    circles = tuple(
        Circle(
            _x(score),
            _y(share),
            round(_MIN_RADIUS + (_MAX_RADIUS - _MIN_RADIUS) * (count / most) ** 0.5, 1),
            f"{name}: of {count} scored about {score:.2f}, {100 * share:.0f} % are real",
        )
        for score, share, count in rows
    )
    return _chart(
        "Share that is real against the score",
        "score",
        "share real",
        _lines(sets, "reliability"),
        circles=circles,
        diagonal=f"M{_LEFT} {_BOTTOM}L{_RIGHT} {_TOP}",
    )


def _lines(sets: Mapping[str, Mapping[str, Any]], kind: str) -> tuple[Line, ...]:
    return tuple(
        Line(name, _path(points[kind]), series)
        for series, (name, points) in enumerate(sets.items())
    )


def _path(points: Sequence[Sequence[float]]) -> str:
    return "M" + "L".join(f"{_x(point[0])} {_y(point[1])}" for point in points)


def _x(value: float) -> float:
    return round(_LEFT + value * (_RIGHT - _LEFT), 1)


def _y(value: float) -> float:
    return round(_BOTTOM + value * (_TOP - _BOTTOM), 1)
