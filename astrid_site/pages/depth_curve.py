"""How completely injected sources were found, drawn against their magnitude, and what it says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astrid_site.core.templatetags.astro import number, significant
from astrid_site.pages.score_histogram import Tick
from preprocessing.algorithms.completeness import NOTABLE_DIFFERENCE

WIDTH, HEIGHT = 360.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 34.0, 356.0, 6.0, 132.0
#: Share of the sources found -> words of its line.
_SHARES = (0.5, 0.9)


@dataclass(frozen=True)
class DepthView:
    """Paths in a box of ``WIDTH`` x ``HEIGHT``: completeness against magnitude, or flux.

    ``says`` is what was found in one sentence, ``note`` what is odd about it.
    """

    curve: str
    points: tuple[tuple[float, float], ...]
    noise_at: float | None
    half_at: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    unit: str
    says: str
    note: str
    in_words: str


def draw_depth(metrics: Mapping[str, Any]) -> DepthView | None:
    """The curve for what ``InjectedDepth.as_json`` kept of a run; None where there is nothing."""
    told = metrics.get("injected_depth")
    if not isinstance(told, Mapping) or not told["flux"]:
        return None
    noise, half = told["noise_magnitude"], told["magnitude_50"]
    # magnitudes where there is a zero point, else the decimal logarithm of the flux
    has_zero_point = noise is not None
    scale = -2.5 if has_zero_point else 1.0
    offset = noise + 2.5 * math.log10(told["noise_flux"]) if has_zero_point else 0.0
    values = [offset + scale * math.log10(flux) for flux in told["flux"]]
    faint, bright = values[0], values[-1]
    shares = [found / told["n_places"] for found in told["n_found"]]

    def x_of(value: float) -> float:
        return round(_LEFT + (value - bright) / (faint - bright) * (_RIGHT - _LEFT), 1)

    def y_of(share: float) -> float:
        return round(_BOTTOM + (_TOP - _BOTTOM) * share, 1)

    points = tuple((x_of(v), y_of(s)) for v, s in zip(values, shares, strict=True))
    ends = sorted((bright, faint))
    ticks = [t for t in _steps(*ends) if _LEFT + 8 < x_of(t) < _RIGHT - 8]
    at_noise = offset + scale * math.log10(told["noise_flux"])
    at_half = told["flux_50"] and offset + scale * math.log10(told["flux_50"])
    return DepthView(
        curve="M" + "L".join(f"{x} {y}" for x, y in points),
        points=points,
        noise_at=x_of(at_noise) if ends[0] <= at_noise <= ends[1] else None,
        half_at=x_of(at_half) if at_half else None,
        x_ticks=tuple(Tick(x_of(t), f"{t:.2f}".rstrip("0").rstrip(".")) for t in ticks),
        y_ticks=tuple(Tick(y_of(s), f"{100 * s:.0f} %") for s in (0.0, 0.5, 0.9)),
        unit="mag" if has_zero_point else "log flux",
        says=_say(told),
        note=_note(noise, half, scale=told["noise_scale"]),
        in_words=_say(told),
    )


def _steps(low: float, high: float) -> list[float]:
    """Multiples of a quarter between two values."""
    return [k / 4 for k in range(math.ceil(4 * low), math.floor(4 * high) + 1)]


def _say(told: Mapping[str, Any]) -> str:
    """Where half and nine tenths of the sources are found."""
    n = told["n_places"]
    if told["flux_50"] is None:
        return f"the share of {n} sources found never crosses a half at the fluxes tried"
    if told["magnitude_50"] is None:
        return (
            f"half of {n} sources put in are found at a flux of {significant(told['flux_50'], 3)}"
        )
    text = f"half of {n} sources put in are found at {number(told['magnitude_50'], 2)} mag"
    low, high = told["magnitude_50_low"], told["magnitude_50_high"]
    if low is not None and high is not None:
        text += f" ({number(low, 2)} to {number(high, 2)})"
    if told["magnitude_90"] is not None:
        text += f", nine of ten at {number(told['magnitude_90'], 2)} mag"
    return text


def _note(noise: float | None, half: float | None, *, scale: float) -> str:
    """What is said where noise and injections disagree."""
    if noise is None or half is None or abs(noise - half) <= NOTABLE_DIFFERENCE:
        return ""
    way = "brighter" if half < noise else "fainter"
    text = f"{number(abs(noise - half), 2)} mag {way} than the noise alone promises"
    if abs(scale - 1.0) > 0.05:
        text += (
            f": measured fluxes of nothing scatter {number(scale, 2)} times as much as predicted"
        )
    return text
