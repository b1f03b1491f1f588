"""Where a frame lies on the sky; exact everywhere."""

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
    """

    corners: tuple[tuple[float, float], ...]
    ra: float
    dec: float
    radius_deg: float
    pixel_scale_arcsec: float


def measure_footprint(wcs: Any, shape: tuple[int, int]) -> Footprint:
    """Outline and size of a frame on the sky.

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
    )


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
