"""Template filters of the field: positions, magnitudes, dates, plain numbers."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from django import template

from astrid_site.imaging.flux_density import implied_zero_point, microjansky_factor, with_error

register = template.Library()

#: What is shown where nothing was measured.
NOTHING = "–"


def _split(value: float, *, decimals: int) -> tuple[int, int, int]:
    """Whole units, minutes, and seconds in units of the last decimal, truncated.

    Truncated, not rounded: a position in a name must not move to the next minute. The tiny
    allowance undoes the binary error of values such as 59.1 s.
    """
    ticks = math.floor(value * 3600 * 10**decimals + 1e-6)
    per_minute = 60 * 10**decimals
    return ticks // (60 * per_minute), ticks // per_minute % 60, ticks % per_minute


def _join(parts: tuple[int, int, int], *, decimals: int) -> str:
    whole, minutes, ticks = parts
    seconds, fraction = divmod(ticks, 10**decimals)
    return f"{whole:02d}:{minutes:02d}:{seconds:02d}.{fraction:0{decimals}d}"


@register.filter
def ra_hms(ra: float | None) -> str:
    """Right ascension [deg] as hours, minutes and seconds."""
    if ra is None:
        return NOTHING
    return _join(_split((ra % 360.0) / 15.0, decimals=2), decimals=2)


@register.filter
def dec_dms(dec: float | None) -> str:
    """Declination [deg] as degrees, minutes and seconds of arc."""
    if dec is None:
        return NOTHING
    sign = "-" if dec < 0 else "+"
    return sign + _join(_split(abs(dec), decimals=1), decimals=1)


@register.filter
def degrees(value: float | None) -> str:
    """An angle in decimal degrees, to 0.004 arcsec."""
    return NOTHING if value is None else f"{value:.6f}"


@register.filter
def mjd(value: float | None) -> str:
    """A Modified Julian Date to a second."""
    return NOTHING if value is None else f"{value:.5f}"


@register.filter
def number(value: float | None, decimals: int = 2) -> str:
    """A number with so many decimals, and a true minus sign."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:,.{decimals}f}".replace("-", "\u2212")


@register.filter
def significant(value: Any, digits: int = 3) -> str:
    """A number to so many significant digits; other things as they are."""
    if value is None:
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace("-", "\u2212")
    if not math.isfinite(value):
        return NOTHING
    size = math.floor(math.log10(abs(value))) if value else 0
    if -5 < size < 7:
        # powers of ten only where nobody would write the number out
        return number(round(value, digits - 1 - size), max(0, digits - 1 - size))
    return f"{value:.{digits - 1}e}".replace("-", "\u2212")


@register.filter
def shortest(value: float | None) -> str:
    """A limit somebody chose, without the zeros nobody wrote."""
    return NOTHING if value is None else f"{value:.4g}".replace("-", "\u2212")


@register.filter
def probability(value: float | None) -> str:
    """A score between 0 and 1 that never claims to be certain."""
    if value is None:
        return NOTHING
    if value > 0.99:
        return "> 0.99"
    return "< 0.01" if value < 0.01 else f"{value:.2f}"


@register.filter
def signed(value: float | None, decimals: int = 1) -> str:
    """A number that always shows its sign."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:+,.{decimals}f}".replace("-", "\u2212")


@register.simple_tag
def magnitude(value: float | None, error: float | None = None) -> str:
    """A magnitude with its error, as in ``19.52 ± 0.04 mag``."""
    if value is None:
        return NOTHING
    if error is None:
        return f"{value:.2f} mag"
    return f"{value:.2f} ± {error:.2f} mag"


@register.filter
def plus_minus(value: float | None, error: float | None) -> str:
    """A number with its error, no finer than that: ``60 ± 140``."""
    if value is None or not error or not math.isfinite(value) or not math.isfinite(error):
        return NOTHING
    return with_error(value, error)


@register.simple_tag
def candidate_flux(flux: float, error: float, magnitude: float | None = None) -> str:
    """A candidate's flux with its unit: microjansky where it has a magnitude, of its size."""
    if magnitude is None or not flux:
        return f"{plus_minus(flux, error)} image units"
    factor = microjansky_factor(implied_zero_point(flux, magnitude))
    return f"{plus_minus(flux * factor, error * factor)} µJy"


@register.filter
def utc(value: datetime | None) -> str:
    """A moment as ``2026-03-01 04:12:33`` in UTC; the page says that times are UTC."""
    return NOTHING if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


@register.filter
def duration(seconds: float | None) -> str:
    """A span of time in the unit a person would choose."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "< 0.1 s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


@register.filter
def percent(fraction: float | None) -> str:
    """A fraction as whole percent."""
    return NOTHING if fraction is None else f"{100 * fraction:.0f} %"


@register.filter
def share(fraction: float | None) -> str:
    """A fraction as percent, to two digits where it is small."""
    if fraction is None:
        return NOTHING
    if fraction == 0:
        return "0 %"
    return f"{100 * fraction:.2g} %" if fraction >= 1e-5 else "< 0.001 %"


@register.filter
def words(name: str) -> str:
    """A name of code as words: ``sky_noise`` -> ``sky noise``.

    People read of one thing by one name: what the code calls template, the reference warped to
    the science grid, is the reference on every page.
    """
    return name.replace("_", " ").replace("template", "reference")
