"""Where each point of a light curve goes on a chart; the drawing itself is left to others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from astrid_site.imaging.flux_density import with_error

Quantity = Literal["magnitude", "flux"]
FluxKind = Literal["difference", "total"]

#: Left, right, top and bottom margins of the plot area.
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 14.0, 10.0, 36.0
#: Outlines around (0, 0), one for each survey: disc, square, diamond, triangle, hexagon.
SYMBOLS = (
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "M-4-4h8v8h-8z",
    "M0-5.8L5.8 0 0 5.8-5.8 0z",
    "M0-5.5L5.2 3.8h-10.4z",
    "M-2.8-4.8h5.6l2.8 4.8-2.8 4.8h-5.6l-2.8-4.8z",
)
_LIMIT = "M-5-3h10l-5 8z"
#: What makes the symbol of a survey a limit, where several surveys are drawn.
_ARROW = "M0 4v5m-2.5-2.5l2.5 2.5 2.5-2.5"
#: Room that the name of a reference epoch takes.
_LABEL_WIDTH = 24.0


@dataclass(frozen=True)
class Epoch:
    """One measurement.

    Attributes
    ----------
    key : str
        Names the epoch.
    mjd : float
        Time [day].
    band : str
        Filter.
    flux, flux_error : float or None
        Difference or total flux, as the chart is told; None where masked.
    magnitude, magnitude_error, limit : float or None
        Magnitude where the flux is positive, and the 5 sigma limit.
    is_current : bool
        Whether this is the epoch being looked at.
    survey : str
        Whose frame it is.
    is_reference : bool
        Whether the epoch is part of the reference, so that it has no difference of its own.
    """

    key: str
    mjd: float
    band: str = ""
    flux: float | None = None
    flux_error: float | None = None
    magnitude: float | None = None
    magnitude_error: float | None = None
    limit: float | None = None
    is_current: bool = False
    is_reference: bool = False
    survey: str = ""


@dataclass(frozen=True)
class Mark:
    """One symbol: a point with an error bar, or a triangle that points at fainter values."""

    key: str
    x: float
    y: float
    error_low: float | None
    error_high: float | None
    is_limit: bool
    is_current: bool
    series: int
    text: str
    symbol: str


@dataclass(frozen=True)
class ReferenceMark:
    """An epoch that is part of the reference: a line at its time, without a value."""

    key: str
    x: float
    has_label: bool
    is_current: bool
    text: str


@dataclass(frozen=True)
class Tick:
    """One labelled position of an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Curve:
    """A fit to the points of one band."""

    path: str
    series: int


@dataclass(frozen=True)
class SurveySymbol:
    """Which symbol the points of one survey have."""

    name: str
    symbol: str


@dataclass(frozen=True)
class Chart:
    """Everything to draw: sizes, ticks, marks and names, in the chart's own units."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    y_label: str
    zero: float | None
    marks: tuple[Mark, ...]
    bands: tuple[str, ...]
    references: tuple[ReferenceMark, ...] = ()
    #: Empty where all points are of one survey.
    surveys: tuple[SurveySymbol, ...] = ()
    curves: tuple[Curve, ...] = ()

    @property
    def has_limits(self) -> bool:
        """Whether any mark is an upper limit."""
        return any(mark.is_limit for mark in self.marks)


@dataclass(frozen=True)
class _Value:
    epoch: Epoch
    value: float
    error: float | None
    is_limit: bool


def lay_out_chart(
    epochs: Sequence[Epoch],
    *,
    quantity: Quantity,
    kind: FluxKind = "difference",
    unit: str = "",
    width: float = 640,
    height: float = 220,
    fits: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Chart | None:
    """Lay a light curve out.

    Parameters
    ----------
    epochs : sequence of Epoch
        Measurements in any order.
    quantity : {"magnitude", "flux"}
        What goes up: brightness in magnitudes (bright on top, upper limits as triangles), or
        flux (with its zero line).
    kind : {"difference", "total"}
        What the fluxes are; a chart never mixes the two.
    unit : str
        Of all the fluxes, which must be on one scale.
    width, height : float
        Size of the chart.
    fits : mapping of str to sequence of (float, float)
        For bands that have one a fit, as (MJD, value) in the quantity of the chart.

    Returns
    -------
    Chart or None
        None where no epoch has anything to show in that quantity.
    """
    values = [v for v in (_value(epoch, quantity) for epoch in epochs) if v is not None]
    if not values:
        return None
    bands = tuple(sorted({v.epoch.band for v in values}))
    surveys = _symbols([v.epoch for v in values])
    references = sorted((e for e in epochs if e.is_reference), key=lambda e: e.mjd)
    times = [v.epoch.mjd for v in values] + [epoch.mjd for epoch in references]
    x_low, x_high = _padded(times, least=1.0)
    y_low, y_high = _value_range(values, quantity)
    right, bottom = width - _RIGHT, height - _BOTTOM

    def place_x(mjd: float) -> float:
        return _LEFT + (mjd - x_low) / (x_high - x_low) * (right - _LEFT)

    def place_y(value: float) -> float:
        share = (value - y_low) / (y_high - y_low)
        return _TOP + (share if quantity == "magnitude" else 1.0 - share) * (bottom - _TOP)

    def mark(v: _Value) -> Mark:
        has_bar = v.error is not None and not v.is_limit
        return Mark(
            key=v.epoch.key,
            x=round(place_x(v.epoch.mjd), 2),
            y=round(place_y(v.value), 2),
            error_low=round(place_y(v.value - (v.error or 0.0)), 2) if has_bar else None,
            error_high=round(place_y(v.value + (v.error or 0.0)), 2) if has_bar else None,
            is_limit=v.is_limit,
            is_current=v.epoch.is_current,
            series=bands.index(v.epoch.band) % 6,
            text=_describe(v, quantity, unit=unit, survey=v.epoch.survey if surveys else ""),
            symbol=_symbol(v, surveys),
        )

    return Chart(
        width=width,
        height=height,
        left=_LEFT,
        right=right,
        top=_TOP,
        bottom=bottom,
        x_ticks=_placed(nice_ticks(x_low, x_high, count=max(3, int(width / 130))), place_x),
        y_ticks=_placed(nice_ticks(y_low, y_high), place_y),
        y_label=_label(quantity, kind, unit=unit),
        zero=round(place_y(0.0), 2) if quantity == "flux" else None,
        marks=tuple(mark(v) for v in sorted(values, key=lambda v: v.epoch.mjd)),
        bands=bands,
        references=_mark_references(references, [round(place_x(e.mjd), 2) for e in references]),
        surveys=tuple(SurveySymbol(name, symbol) for name, symbol in surveys.items()),
        curves=_draw_fits(fits or {}, bands, inside=(y_low, y_high), place=(place_x, place_y)),
    )


def _draw_fits(
    fits: Mapping[str, Sequence[tuple[float, float]]],
    bands: Sequence[str],
    *,
    inside: tuple[float, float],
    place: tuple[Callable[[float], float], Callable[[float], float]],
) -> tuple[Curve, ...]:
    """The fits of the bands that are shown, as far as they lie on the chart."""
    (low, high), (place_x, place_y) = inside, place
    return tuple(
        Curve(
            _path([(place_x(t), place_y(v)) for t, v in curve if low <= v <= high]),
            bands.index(band) % 6,
        )
        for band, curve in fits.items()
        if band in bands
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if len(points) > 1 else ""


def _placed(
    ticks: Sequence[tuple[float, str]], place: Callable[[float], float]
) -> tuple[Tick, ...]:
    return tuple(Tick(round(place(at), 2), label) for at, label in ticks)


def _label(quantity: Quantity, kind: FluxKind, *, unit: str) -> str:
    if quantity == "magnitude":
        return f"{kind} magnitude (AB)"
    return f"{kind} flux [{unit}]" if unit else f"{kind} flux"


def _symbols(epochs: Sequence[Epoch]) -> dict[str, str]:
    """The symbol of each survey; none where all epochs are of one."""
    names = sorted({epoch.survey for epoch in epochs})
    if len(names) < 2:
        return {}
    return {name: SYMBOLS[i % len(SYMBOLS)] for i, name in enumerate(names)}


def _symbol(v: _Value, surveys: Mapping[str, str]) -> str:
    """The outline to draw: a survey's own, or a disc; a limit points at fainter values."""
    if not v.is_limit:
        return surveys.get(v.epoch.survey, SYMBOLS[0])
    return surveys[v.epoch.survey] + _ARROW if surveys else _LIMIT


def _mark_references(epochs: Sequence[Epoch], places: Sequence[float]) -> tuple[ReferenceMark, ...]:
    """Lines of the reference's epochs; where they stand close only the last of them is named."""
    following = [*places, math.inf][1:]
    return tuple(
        ReferenceMark(
            epoch.key,
            x,
            has_label=after - x > _LABEL_WIDTH,
            is_current=epoch.is_current,
            text=_describe_reference(epoch),
        )
        for epoch, x, after in zip(epochs, places, following, strict=True)
    )


def nice_ticks(low: float, high: float, *, count: int = 4) -> list[tuple[float, str]]:
    """Round numbers between two values, about ``count`` of them, labelled so that they differ."""
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1.0, 2.0, 5.0, 10.0) if f * power >= rough * 0.999)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    kind = "e" if max(abs(low), abs(high)) >= 1e6 else "f"
    digits = 1 if kind == "e" else decimals
    return [
        (i * step, f"{i * step:.{digits}{kind}}".replace("-", "\u2212"))
        for i in range(first, last + 1)
    ]


def _value(epoch: Epoch, quantity: Quantity) -> _Value | None:
    if quantity == "flux":
        if epoch.flux is None:
            return None
        return _Value(epoch, epoch.flux, epoch.flux_error, is_limit=False)
    if epoch.magnitude is not None:
        return _Value(epoch, epoch.magnitude, epoch.magnitude_error, is_limit=False)
    if epoch.limit is not None:
        return _Value(epoch, epoch.limit, None, is_limit=True)
    return None


def _padded(values: Sequence[float], *, least: float) -> tuple[float, float]:
    """Range of the values with room around them."""
    low, high = min(values), max(values)
    room = max(0.07 * (high - low), least / 2)
    return low - room, high + room


def _value_range(values: Sequence[_Value], quantity: Quantity) -> tuple[float, float]:
    """From the lowest to the highest end of an error bar; fluxes always show their zero."""
    reach = [v.value + s * (v.error or 0.0) for v in values for s in (-1, 1)]
    if quantity == "flux":
        return _padded([*reach, 0.0], least=1e-12)
    return _padded(reach, least=0.2)


def _describe_reference(epoch: Epoch) -> str:
    return f"{_when(epoch)}: part of the reference, its difference is zero by construction"


def _when(epoch: Epoch) -> str:
    return f"MJD {epoch.mjd:.4f}" + (f", {epoch.band} band" if epoch.band else "")


def _describe(v: _Value, quantity: Quantity, *, unit: str, survey: str) -> str:
    """The mark in words, for a screen reader and for the line under the chart."""
    when = _when(v.epoch) + (f", {survey}" if survey else "")
    if v.is_limit:
        return f"{when}: fainter than {v.value:.2f} mag (5 sigma)"
    if quantity == "magnitude":
        error = "" if v.error is None else f" ± {v.error:.3g}"
        return f"{when}: {v.value:.2f}{error} mag"
    told = with_error(v.value, v.error) if v.error else f"{v.value:.4g}".replace("-", "\u2212")
    return f"{when}: flux {told} {unit}".rstrip()
