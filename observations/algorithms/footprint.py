"""Where a frame lies on the sky, and how much of one frame another covers; exact everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Footprint:
    """The outline of a frame on the sky.

    Attributes
    ----------
    corners : tuple of (float, float)
        (ra, dec) [deg] of the outer corners of the corner pixels, in pixel order
        (0, 0), (nx, 0), (nx, ny), (0, ny).
    ra, dec : float
        Centre of the frame [deg].
    radius_deg : float
        Radius of a circle around the centre that holds the whole frame.
    pixel_scale_arcsec : float
        Square root of the pixel area at the centre.
    orientation_deg : float
        Position angle of the +y axis, from north through east, in [0, 360).
    is_mirrored : bool
        True where east is right of north-up: the opposite of the sky as seen.
    """

    corners: tuple[tuple[float, float], ...]
    ra: float
    dec: float
    radius_deg: float
    pixel_scale_arcsec: float
    orientation_deg: float
    is_mirrored: bool


def measure_footprint(wcs: Any, shape: tuple[int, int]) -> Footprint:
    """Outline, size and orientation of a frame on the sky.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Celestial 2-D, right ascension first, distortions included.
    shape : tuple of int
        (ny, nx).

    Returns
    -------
    Footprint

    Raises
    ------
    ValueError
        If the outline has points off the sky.
    """
    ny, nx = shape
    outline = _outline(shape)
    centre = np.array([[(nx - 1) / 2.0, (ny - 1) / 2.0]])
    sky = np.asarray(wcs.all_pix2world(np.vstack([centre, outline]), 0), dtype=np.float64)
    if not np.isfinite(sky).all():
        msg = "wcs: parts of the frame lie off the sky"
        raise ValueError(msg)
    ra, dec = float(sky[0, 0]) % 360.0, float(sky[0, 1])
    vectors = _vectors(sky)
    radius = float(_separation(vectors[:1], vectors[1:]).max())
    jacobian = _jacobian(wcs, centre, ra=ra, dec=dec)
    corners = sky[1 :: len(outline) // 4]
    return Footprint(
        corners=tuple((float(a) % 360.0, float(d)) for a, d in corners),
        ra=ra,
        dec=dec,
        radius_deg=math.degrees(radius),
        pixel_scale_arcsec=math.degrees(math.sqrt(abs(float(np.linalg.det(jacobian))))) * 3600.0,
        orientation_deg=math.degrees(math.atan2(jacobian[0, 1], jacobian[1, 1])) % 360.0,
        is_mirrored=bool(np.linalg.det(jacobian) > 0),
    )


def overlap_fraction(
    wcs: Any,
    shape: tuple[int, int],
    other_wcs: Any,
    *,
    other_shape: tuple[int, int],
    samples: int = 128,
) -> float:
    """Fraction of a frame's area that another frame covers.

    A grid of points of the first frame goes through both coordinate systems, so RA 0, the poles,
    rotation, parity and distortion need no special case.

    Parameters
    ----------
    wcs, other_wcs : astropy.wcs.WCS
        Celestial 2-D, right ascension first.
    shape, other_shape : tuple of int
        (ny, nx) of the two frames.
    samples : int
        Points per axis; the fraction is good to about ``1 / samples``.

    Returns
    -------
    float
        0 to 1.
    """
    ny, nx = shape
    steps = (np.arange(samples) + 0.5) / samples
    x, y = np.meshgrid(steps * nx - 0.5, steps * ny - 0.5)
    sky = np.asarray(wcs.all_pix2world(np.column_stack([x.ravel(), y.ravel()]), 0))
    other = measure_footprint(other_wcs, other_shape)
    # a projection also gives pixels to points on the far side of the sky: keep to the near ones
    centre = _vectors(np.array([[other.ra, other.dec]]))
    near = np.isfinite(sky).all(axis=1)
    near[near] = _separation(centre, _vectors(sky[near])) <= math.radians(other.radius_deg) * 1.001
    if not near.any():
        return 0.0
    pixels = np.asarray(other_wcs.all_world2pix(sky[near], 0, quiet=True))
    inside = _inside(pixels, other_shape)
    return float(inside.sum()) / samples**2


def _inside(pixels: FloatArray, shape: tuple[int, int]) -> NDArray[np.bool_]:
    upper = np.array([shape[1] - 0.5, shape[0] - 0.5])
    # NaN compares false: a point that has no pixel is not covered
    within = (pixels >= -0.5) & (pixels <= upper)
    return np.asarray(within.all(axis=1))


def _outline(shape: tuple[int, int], per_side: int = 8) -> FloatArray:
    """Points along the outer edge, the four corners first on their sides."""
    ny, nx = shape
    t = np.arange(per_side) / per_side
    zero = np.zeros_like(t)
    sides = [
        np.column_stack([t * nx, zero]),
        np.column_stack([zero + nx, t * ny]),
        np.column_stack([nx - t * nx, zero + ny]),
        np.column_stack([zero, ny - t * ny]),
    ]
    outline: FloatArray = np.vstack(sides) - 0.5
    return outline


def _jacobian(wcs: Any, centre: FloatArray, *, ra: float, dec: float) -> FloatArray:
    """Displacement (east, north) [rad] for a step of one pixel in x and in y, as columns."""
    steps = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.5], [0.0, -0.5]])
    v = _vectors(np.asarray(wcs.all_pix2world(centre + steps, 0), dtype=np.float64))
    a, d = math.radians(ra), math.radians(dec)
    east = np.array([-math.sin(a), math.cos(a), 0.0])
    north = np.array([-math.sin(d) * math.cos(a), -math.sin(d) * math.sin(a), math.cos(d)])
    move = np.stack([v[0] - v[1], v[2] - v[3]], axis=1)
    jacobian: FloatArray = np.stack([east, north]) @ move
    return jacobian


def _vectors(sky: FloatArray) -> FloatArray:
    ra, dec = np.radians(sky[:, 0]), np.radians(sky[:, 1])
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _separation(first: FloatArray, second: FloatArray) -> FloatArray:
    # 2 asin(chord / 2) keeps its precision at small separations, where acos loses it
    chord = np.linalg.norm(first - second, axis=1)
    separation: FloatArray = 2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0))
    return separation
