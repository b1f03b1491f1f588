"""Loss and average precision of a training, epoch by epoch, as paths that grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from astrid_site.pages.score_histogram import Tick

WIDTH, HEIGHT = 360.0, 200.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 352.0, 10.0, 168.0
#: Members beyond this share the colours of the first.
_N_SERIES = 4


@dataclass(frozen=True)
class Dot:
    """One epoch."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class MemberLine:
    """One member's curve."""

    name: str
    series: int
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class TrainingChart:
    """One figure against the epoch."""

    title: str
    y_label: str
    lines: tuple[MemberLine, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    says: str


def draw_training(history: Sequence[Mapping[str, Any]], *, n_epochs: int) -> list[TrainingChart]:
    """Charts of the loss and of the validation AUCPR; empty before the first epoch.

    Parameters
    ----------
    history : sequence of mapping
        ``member``, ``epoch``, ``loss`` (None for the weights it begins with),
        ``validation_aucpr``.
    n_epochs : int
        Of a member at most: the axis goes as far.
    """
    if not history:
        return []
    return [
        _chart(history, "loss", "Loss in training", n_epochs=n_epochs),
        _chart(history, "validation_aucpr", "AUCPR on the validation side", n_epochs=n_epochs),
    ]


def _chart(
    history: Sequence[Mapping[str, Any]], key: str, title: str, *, n_epochs: int
) -> TrainingChart:
    rows = [row for row in history if row[key] is not None]
    values = [float(row[key]) for row in rows] or [0.0, 1.0]
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), 0.002)
    low, high = max(low - room, 0.0), high + room
    if key == "validation_aucpr":
        high = min(high, 1.0)

    def x_of(epoch: int) -> float:
        return round(_LEFT + epoch / max(n_epochs, 1) * (_RIGHT - _LEFT), 1)

    def y_of(value: float) -> float:
        return round(_BOTTOM - (value - low) / max(high - low, 1e-9) * (_BOTTOM - _TOP), 1)

    lines = []
    for member in sorted({row["member"] for row in rows}):
        dots = tuple(
            Dot(
                x_of(row["epoch"]),
                y_of(row[key]),
                f"member {member + 1}, epoch {row['epoch']}: {row[key]:.4f}",
            )
            for row in rows
            if row["member"] == member
        )
        path = "M" + "L".join(f"{dot.x} {dot.y}" for dot in dots)
        lines.append(MemberLine(f"member {member + 1}", member % _N_SERIES, path, dots))
    every = max(1, n_epochs // 6)
    steps = [low + i * (high - low) / 4 for i in range(5)]
    last = rows[-1] if rows else None
    return TrainingChart(
        title=title,
        y_label=title,
        lines=tuple(lines),
        x_ticks=tuple(Tick(x_of(n), str(n)) for n in range(0, n_epochs + 1, every)),
        y_ticks=tuple(Tick(y_of(value), f"{value:.3f}") for value in steps),
        says=f"{title}: now {last[key]:.4f} at epoch {last['epoch']}" if last else title,
    )
