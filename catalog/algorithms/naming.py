"""Names of objects after their place on the sky."""

from __future__ import annotations

import math

PREFIX = "AstrID"
# a position on the border of a tick must not fall below it by the rounding of a float
_ROUNDING = 1e-6


def object_name(ra: float, dec: float) -> str:
    """Name of an object, ``AstrID JHHMMSS.ss+DDMMSS.s``.

    Parameters
    ----------
    ra, dec : float
        ICRS degrees; ``dec`` within [-90, 90].

    Returns
    -------
    str
        Coordinates are truncated, never rounded, as the IAU asks of designations, so that the
        name always points to the cell that holds the object.

    Raises
    ------
    ValueError
        If the position is not on the sky.

    References
    ----------
    .. [1] IAU Specifications concerning designations, section 3.2.
    """
    if not (math.isfinite(ra) and math.isfinite(dec) and abs(dec) <= 90.0):
        msg = f"ra, dec: not on the sky: {ra}, {dec}"
        raise ValueError(msg)
    # hundredths of a second of time: 24 h * 3600 * 100 over 360 degrees
    ticks = math.floor((ra % 360.0) * 24_000.0 + _ROUNDING) % 8_640_000
    hours, rest = divmod(ticks, 360_000)
    minutes, rest = divmod(rest, 6_000)
    tenths = math.floor(abs(dec) * 36_000.0 + _ROUNDING)
    degrees, tail = divmod(tenths, 36_000)
    arcmin, tail = divmod(tail, 600)
    sign = "-" if dec < 0 else "+"
    return (
        f"{PREFIX} J{hours:02d}{minutes:02d}{rest / 100:05.2f}"
        f"{sign}{degrees:02d}{arcmin:02d}{tail / 10:04.1f}"
    )
