"""Whether a place lies on a frame, and how far beyond its edge it does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.healpix import separation_arcsec

Values = NDArray[np.float64]


def beyond_edge(x: float, y: float, shape: tuple[int, int]) -> float:
    """How far a position lies outside of a frame [pix]; 0 inside.

    Parameters
    ----------
    x, y : float
        Position [pix], 0-based.
    shape : tuple of int
        (ny, nx).

    Raises
    ------
    ValueError
        If the position is not finite.
    """
    if not (np.isfinite(x) and np.isfinite(y)):
        msg = f"x, y: must be finite, got {x}, {y}"
        raise ValueError(msg)
    ny, nx = shape
    return float(np.hypot(max(-0.5 - x, x - (nx - 0.5), 0.0), max(-0.5 - y, y - (ny - 0.5), 0.0)))


def beyond_outline(corners: Sequence[Sequence[float]], ra: float, dec: float) -> float:
    """How far a place lies outside of the outline of a frame [arcsec]; 0 inside.

    Parameters
    ----------
    corners : sequence of (ra, dec)
        Of a convex outline in order, ICRS degrees; at least three.
    ra, dec : float
        The place, ICRS degrees.

    Returns
    -------
    float
        To the nearest side, in the plane that touches the sky at the place; beyond 60 degrees,
        where that plane ends, to the nearest corner along the sky.

    Raises
    ------
    ValueError
        If there are fewer than three corners.
    """
    if len(corners) < 3:
        msg = f"corners: an outline has at least three, got {len(corners)}"
        raise ValueError(msg)
    outline = np.asarray(corners, dtype=np.float64)
    apart = separation_arcsec(ra, dec, outline[:, 0], outline[:, 1])
    if float(apart.max()) > 60.0 * 3600.0:
        return float(apart.min())
    points = _tangent_plane(outline, ra, dec)
    following = np.roll(points, -1, axis=0)
    side = following - points
    # the place is the origin: on one side of all sides it is inside
    turn = points[:, 0] * side[:, 1] - points[:, 1] * side[:, 0]
    if np.all(turn >= 0) or np.all(turn <= 0):
        return 0.0
    length = np.maximum((side**2).sum(axis=1), 1e-12)
    along = np.clip(-(points * side).sum(axis=1) / length, 0.0, 1.0)
    nearest = points + along[:, None] * side
    return float(np.hypot(nearest[:, 0], nearest[:, 1]).min())


def _tangent_plane(places: Values, ra: float, dec: float) -> Values:
    """Gnomonic projection of places (n, 2) around a point [arcsec]."""
    lon = np.radians(places[:, 0] - ra)
    lat, lat0 = np.radians(places[:, 1]), np.radians(dec)
    towards = np.sin(lat0) * np.sin(lat) + np.cos(lat0) * np.cos(lat) * np.cos(lon)
    x = np.cos(lat) * np.sin(lon) / towards
    y = (np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(lon)) / towards
    return np.asarray(np.degrees(np.column_stack([x, y])) * 3600.0, dtype=np.float64)
