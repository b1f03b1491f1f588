"""The histogram of a score on blank sky, drawn against the normal distribution it should be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 360.0, 150.0
_LEFT, _BOTTOM = 26.0, 18.0


@dataclass(frozen=True)
class Tick:
    """A mark of an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class HistogramView:
    """Paths in a box of ``WIDTH`` x ``HEIGHT``; counts are logarithmic."""

    bars: str
    curve: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    n_pixels: int
    n_beyond: int
    n_expected_beyond: float
    width: float
    reach: float


def draw_histogram(told: Mapping[str, Any]) -> HistogramView:
    """Paths for the numbers that ``ScoreHistogram.as_json`` kept."""
    counts, step, reach = told["counts"], float(told["step"]), float(told["reach"])
    n_beyond = int(told["n_below"]) + int(told["n_above"])
    n_pixels = sum(counts) + n_beyond
    top = math.log10(max(10.0, 1.5 * max(counts)))

    def x_of(sigma: float) -> float:
        return _LEFT + (sigma + reach) / (2 * reach) * (WIDTH - _LEFT - 4)

    def y_of(count: float) -> float:
        level = math.log10(count) / top if count >= 1 else 0.0
        return (HEIGHT - _BOTTOM) * (1 - level)

    floor = HEIGHT - _BOTTOM
    bars = [f"M{x_of(-reach):.1f} {floor:.1f}"]
    for i, count in enumerate(counts):
        left, height = x_of(-reach + i * step), y_of(count)
        bars.append(f"L{left:.1f} {height:.1f}L{x_of(-reach + (i + 1) * step):.1f} {height:.1f}")
    bars.append(f"L{x_of(reach):.1f} {floor:.1f}Z")
    middles = [-reach + (i + 0.5) * step for i in range(len(counts))]
    curve = [f"{x_of(s):.1f} {y_of(_expected(s, step, n_pixels)):.1f}" for s in middles]
    return HistogramView(
        bars="".join(bars),
        curve="M" + "L".join(curve),
        x_ticks=tuple(
            Tick(x_of(s), f"{s:+d}".replace("-", "−").replace("+0", "0")) for s in (-5, -3, 0, 3, 5)
        ),
        y_ticks=tuple(Tick(y_of(10.0**k), _power(k)) for k in range(int(top) + 1)),
        n_pixels=n_pixels,
        n_beyond=n_beyond,
        n_expected_beyond=n_pixels * math.erfc(reach / math.sqrt(2)),
        width=float(told["width"]),
        reach=reach,
    )


def _power(k: int) -> str:
    return ("1", "10", "100", "10³", "10⁴", "10⁵", "10⁶", "10⁷")[k]


def _expected(sigma: float, step: float, n_pixels: int) -> float:
    """Pixels of a unit normal distribution in a bin."""
    low, high = (sigma - step / 2) / math.sqrt(2), (sigma + step / 2) / math.sqrt(2)
    return 0.5 * n_pixels * (math.erf(high) - math.erf(low))
