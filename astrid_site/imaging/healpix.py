"""HEALPix NESTED order-14 indices and cones on them, exact at the poles and across RA 0."""

from __future__ import annotations

import math

import numpy as np
from astropy_healpix import healpy as cells
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
IndexArray = NDArray[np.int64]

#: Cells of 13 arcsec: smaller than any cone searched, and the index fits in 32 bits.
ORDER = 14
MAX_RADIUS_ARCSEC = 180.0 * 3600.0
_DEG_TO_ARCSEC = 3600.0


def nested_index(ra: float, dec: float) -> int:
    """NESTED order-14 index of one position (ICRS degrees)."""
    return int(nested_indices([ra], [dec])[0])


def nested_indices(ra: ArrayLike, dec: ArrayLike) -> IndexArray:
    """NESTED order-14 indices of positions.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        ICRS degrees; ``ra`` of any turn, ``dec`` within [-90, 90].

    Returns
    -------
    NDArray[int64], shape (n,)

    Raises
    ------
    ValueError
        If a position is not finite or ``dec`` is beyond a pole.
    """
    ra_deg, dec_deg = _checked(ra, dec)
    index = cells.ang2pix(2**ORDER, ra_deg % 360.0, dec_deg, nest=True, lonlat=True)
    return np.asarray(index, dtype=np.int64)


def separation_arcsec(ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike, dec2: ArrayLike) -> Values:
    """Great-circle separation of positions [arcsec], accurate at every distance.

    Parameters
    ----------
    ra1, dec1, ra2, dec2 : array_like
        ICRS degrees; shapes that broadcast together.

    Returns
    -------
    NDArray[float64]
        Broadcast shape.

    References
    ----------
    .. [1] Vincenty 1975, Survey Review 23, 88, on the sphere.
    """
    lon1, lat1, lon2, lat2 = (
        np.radians(np.asarray(angle, dtype=np.float64)) for angle in (ra1, dec1, ra2, dec2)
    )
    d_lon = lon2 - lon1
    across = np.cos(lat2) * np.sin(d_lon)
    along = np.cos(lat1) * np.sin(lat2) - np.sin(lat1) * np.cos(lat2) * np.cos(d_lon)
    towards = np.sin(lat1) * np.sin(lat2) + np.cos(lat1) * np.cos(lat2) * np.cos(d_lon)
    angle = np.arctan2(np.hypot(across, along), towards)
    return np.asarray(np.degrees(angle) * _DEG_TO_ARCSEC, dtype=np.float64)


def cone_ranges(
    ra: float, dec: float, radius_arcsec: float, *, max_ranges: int = 48
) -> list[tuple[int, int]]:
    """Ranges of order-14 indices that cover a cone.

    Parameters
    ----------
    ra, dec : float
        Centre, ICRS degrees.
    radius_arcsec : float
        Radius, up to 180 degrees.
    max_ranges : int
        Upper bound on the number of ranges; at least 12. More ranges fit the cone closer.

    Returns
    -------
    list of tuple of int
        Disjoint ascending half-open ranges [low, high). Every position within the radius has its
        index in one of them; some positions outside do too, so filter by separation after.

    Raises
    ------
    ValueError
        If the position is not on the sky, the radius not within (0, 180] degrees, or
        ``max_ranges`` below 12.

    Notes
    -----
    Cells are split from the 12 base cells down while the ranges stay within the bound. A cell is
    left out only where its centre is farther than the radius plus the largest distance of any
    corner at that order, so that no cell touching the cone is missed.
    """
    if not 0 < radius_arcsec <= MAX_RADIUS_ARCSEC:
        msg = f"radius_arcsec: must be within (0, {MAX_RADIUS_ARCSEC:g}], got {radius_arcsec}"
        raise ValueError(msg)
    if max_ranges < 12:
        msg = f"max_ranges: must be at least 12, got {max_ranges}"
        raise ValueError(msg)
    _checked([ra], [dec])
    inside = np.zeros((0, 2), dtype=np.int64)
    frontier = np.arange(12, dtype=np.int64)
    ranges = _as_ranges(frontier, order=0)
    for order in range(ORDER + 1):
        whole, partly = _classify(frontier, ra, dec, radius_arcsec=radius_arcsec, order=order)
        inside = np.concatenate([inside, _as_ranges(whole, order=order)])
        refined = _merge(np.concatenate([inside, _as_ranges(partly, order=order)]))
        if len(refined) > max_ranges:
            break
        ranges = refined
        frontier = (4 * partly[:, None] + np.arange(4)).ravel()
    return [(int(low), int(high)) for low, high in ranges]


def _classify(
    cell: IndexArray, ra: float, dec: float, *, radius_arcsec: float, order: int
) -> tuple[IndexArray, IndexArray]:
    """Cells wholly inside the cone, and cells that may be partly inside."""
    lon, lat = cells.pix2ang(2**order, cell, nest=True, lonlat=True)
    distance = separation_arcsec(ra, dec, lon, lat)
    # a micro-arcsecond for rounding, always on the side of keeping
    reach = _cell_radius_arcsec(order) + 1e-6
    whole = distance + reach <= radius_arcsec
    partly = (distance - reach <= radius_arcsec) & ~whole
    return cell[whole], cell[partly]


def _cell_radius_arcsec(order: int) -> float:
    """Largest distance from a cell's centre to its corners at an order [arcsec].

    The widest cells touch |z| = 2/3 (Gorski et al. 2005, ApJ 622, 759, section 5; the bound of
    the reference library's ``max_pixrad``).
    """
    nside = 2**order
    phi = math.pi / (4 * nside)
    z_corner = 1.0 - (1.0 - 1.0 / nside) ** 2 / 3.0
    separation = separation_arcsec(
        math.degrees(phi),
        math.degrees(math.asin(2.0 / 3.0)),
        0.0,
        math.degrees(math.asin(z_corner)),
    )
    return float(separation)


def _as_ranges(cell: IndexArray, *, order: int) -> IndexArray:
    """Half-open ranges of order-14 indices of cells at an order, shape (n, 2)."""
    shift = 2 * (ORDER - order)
    return np.stack([cell << shift, (cell + 1) << shift], axis=-1)


def _merge(ranges: IndexArray) -> IndexArray:
    """Sort disjoint ranges and join those that touch."""
    if len(ranges) == 0:
        return ranges
    ranges = ranges[np.argsort(ranges[:, 0])]
    starts = np.flatnonzero(np.append(True, ranges[1:, 0] > ranges[:-1, 1]))
    ends = np.append(starts[1:], len(ranges)) - 1
    return np.stack([ranges[starts, 0], ranges[ends, 1]], axis=-1)


def _checked(ra: ArrayLike, dec: ArrayLike) -> tuple[Values, Values]:
    """Positions as float64, on the sky."""
    ra_deg, dec_deg = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
    if not (np.isfinite(ra_deg).all() and np.isfinite(dec_deg).all()):
        msg = "ra, dec: must be finite"
        raise ValueError(msg)
    if (np.abs(dec_deg) > 90.0).any():
        msg = f"dec: must be within [-90, 90], got {dec_deg[np.abs(dec_deg) > 90.0][0]}"
        raise ValueError(msg)
    return ra_deg, dec_deg


def wrap_ra(ra: float) -> float:
    """Right ascension in [0, 360); a tiny negative angle is 0, not 360."""
    # -1e-17 % 360 is 360.0 in floating point: the second remainder brings it to 0
    return ra % 360.0 % 360.0
