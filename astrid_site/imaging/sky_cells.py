"""The sky cell of a position, by which every table with positions is indexed."""

from __future__ import annotations

import math

from astropy_healpix import healpy as cells

#: HEALPix order of the index: cells of 13 arcsec.
ORDER = 14


def nested_index(ra: float, dec: float) -> int:
    """HEALPix NESTED order-14 index of one position.

    Parameters
    ----------
    ra, dec : float
        ICRS degrees; ``ra`` of any turn, ``dec`` within [-90, 90].

    Raises
    ------
    ValueError
        If the position is not on the sky.
    """
    if not (math.isfinite(ra) and math.isfinite(dec) and abs(dec) <= 90.0):
        msg = f"ra, dec: not on the sky: {ra}, {dec}"
        raise ValueError(msg)
    return int(cells.ang2pix(2**ORDER, ra % 360.0, dec, nest=True, lonlat=True))


def wrap_ra(ra: float) -> float:
    """Right ascension in [0, 360); a tiny negative angle is 0, not 360."""
    # -1e-17 % 360 is 360.0 in floating point: the second remainder brings it to 0
    return ra % 360.0 % 360.0
