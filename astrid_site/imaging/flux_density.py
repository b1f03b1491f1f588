"""AB flux densities, and numbers written no finer than their errors."""

from __future__ import annotations

import math

#: AB magnitude of one microjansky.
_MICROJANSKY_AB = 23.9


def microjansky_factor(zero_point: float) -> float:
    """Microjansky in one data unit of flux.

    Parameters
    ----------
    zero_point : float
        AB magnitude of one data unit.

    Returns
    -------
    float
        Factor [uJy per data unit]: ``10 ** (-0.4 * (zero_point - 23.9))``, as 0 mag is 3631 Jy in
        the AB system (Oke & Gunn 1983, ApJ 266, 713).
    """
    return float(10.0 ** (-0.4 * (zero_point - _MICROJANSKY_AB)))


def implied_zero_point(flux: float, magnitude: float) -> float:
    """AB magnitude of one data unit, from a flux [data unit, not 0] and the magnitude of its size.

    Raises
    ------
    ValueError
        If the flux is zero, which has no magnitude.
    """
    if flux == 0:
        msg = "flux: zero has no magnitude"
        raise ValueError(msg)
    return magnitude + 2.5 * math.log10(abs(flux))


def with_error(value: float, error: float) -> str:
    """A number and its error as text, rounded at the second digit of the error.

    ``59.44`` with an error of 140 is ``60 ± 140``: digits beyond were not measured.
    """
    if not (math.isfinite(error) and error > 0):
        msg = f"error: a positive number is needed, got {error}"
        raise ValueError(msg)
    # the digit that counts is that of the rounded error: 0.0996 is 0.10
    place = math.floor(math.log10(float(f"{error:.1e}"))) - 1
    size = math.floor(math.log10(max(abs(value), error)))
    if -5 < size < 7:
        digits = max(0, -place)
        text = f"{_rounded(value, place):,.{digits}f} ± {_rounded(error, place):,.{digits}f}"
    else:
        # powers of ten only where nobody would write the number out
        unit = 10.0**size
        digits = max(0, size - place)
        text = f"({value / unit:.{digits}f} ± {error / unit:.{digits}f})e{size:+03d}"
    return text.replace("-", "\u2212")


def _rounded(value: float, place: int) -> float:
    # adding zero takes the sign from a negative zero
    return round(value, -place) + 0.0
