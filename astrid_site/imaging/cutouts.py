"""Small images cut out around a position, and how to turn them so that north is up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Orientation:
    """Flip and quarter turns that bring north nearest to up and put east on the left.

    Attributes
    ----------
    is_flipped : bool
        Mirror x first (the frame has the parity of the mirror image).
    quarter_turns : int
        Then turn counter-clockwise by this many times 90 degrees, 0 to 3.
    north_angle_deg : float
        Angle of north from up after both, counter-clockwise, within [-45, 45].
    """

    is_flipped: bool
    quarter_turns: int
    north_angle_deg: float


def cut_out(
    data: NDArray[np.generic],
    x: float,
    y: float,
    *,
    size: int,
    bad: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Cut a square around a position.

    Parameters
    ----------
    data : NDArray, shape (ny, nx)
        Any plane.
    x, y : float
        Position [pix], 0-based; the cutout is centred on the nearest pixel.
    size : int
        Width of the cutout; odd, so that there is a middle pixel.
    bad : NDArray[bool], shape (ny, nx), optional
        Pixels that are not to be shown.

    Returns
    -------
    NDArray[float32], shape (size, size)
        NaN outside the frame and on bad pixels.

    Raises
    ------
    ValueError
        If the size is not odd and positive, or the position is not finite.
    """
    if size < 1 or size % 2 == 0:
        msg = f"size: must be odd and positive, got {size}"
        raise ValueError(msg)
    if not (math.isfinite(x) and math.isfinite(y)):
        msg = f"x, y: must be finite, got {x}, {y}"
        raise ValueError(msg)
    ny, nx = data.shape
    left, bottom = round(x) - size // 2, round(y) - size // 2
    rows = slice(max(bottom, 0), min(bottom + size, ny))
    columns = slice(max(left, 0), min(left + size, nx))
    cutout = np.full((size, size), np.nan, dtype=np.float32)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return cutout
    part = np.asarray(data[rows, columns], dtype=np.float32)
    if bad is not None:
        part = np.where(bad[rows, columns], np.float32(np.nan), part)
    cutout[rows.start - bottom : rows.stop - bottom, columns.start - left : columns.stop - left] = (
        part
    )
    return cutout


def find_orientation(wcs: WCS, x: float, y: float) -> Orientation:
    """How to turn a cutout at a position so that north is up and east left, to the nearest 90 deg.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Celestial 2-D world coordinates of the frame.
    x, y : float
        Position [pix], 0-based.

    Returns
    -------
    Orientation

    Raises
    ------
    ValueError
        If the world coordinates have no unique direction of north there.
    """
    matrix = _sky_directions(wcs, x, y)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        msg = f"wcs: north is undefined at ({x}, {y})"
        raise ValueError(msg)
    east, north = matrix
    # seen from below the sky, east is a quarter turn counter-clockwise of north
    is_flipped = bool(north[0] * east[1] - north[1] * east[0] < 0)
    north_x = -north[0] if is_flipped else north[0]
    angle = math.degrees(math.atan2(-north_x, north[1]))
    turns = round(-angle / 90.0)
    return Orientation(
        is_flipped=is_flipped, quarter_turns=turns % 4, north_angle_deg=angle + 90.0 * turns
    )


def _sky_directions(wcs: WCS, x: float, y: float) -> NDArray[np.float64]:
    """Pixel vectors of a small step east and a small step north, as rows."""
    px = np.array([x, x + 1.0, x])
    py = np.array([y, y, y + 1.0])
    ra, dec = wcs.all_pix2world(px, py, 0)
    d_ra = (np.asarray(ra[1:]) - ra[0] + 180.0) % 360.0 - 180.0
    d_east = d_ra * math.cos(math.radians(float(dec[0])))
    d_north = np.asarray(dec[1:]) - dec[0]
    # columns: sky step of one pixel in x, in y; the inverse maps sky steps to pixels
    jacobian = np.array([d_east, d_north], dtype=np.float64)
    scale = float(np.abs(jacobian).max())
    if not scale > 0 or abs(np.linalg.det(jacobian / scale)) < 1e-9:
        return np.full((2, 2), np.nan)
    inverse = np.linalg.inv(jacobian / scale)
    return np.asarray(inverse.T, dtype=np.float64)


def orient(cutout: NDArray[np.float32], orientation: Orientation) -> FloatArray:
    """Turn the last two axes ([y, x], y up) of cutouts; the pixels are not resampled."""
    turned = np.flip(cutout, axis=-1) if orientation.is_flipped else cutout
    # rot90 from axis x to axis y of a y-up array is counter-clockwise as displayed
    turned = np.rot90(turned, k=orientation.quarter_turns, axes=(-1, -2))
    return np.ascontiguousarray(turned, dtype=np.float32)
