"""What two world coordinate systems say about two frames, and whether the stars agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.wcs import WCS, NoConvergence
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.image import Image
from preprocessing.algorithms.plane_map import PlaneMap, fit_map, frame_grid, is_within
from preprocessing.algorithms.stars import StarList

Float64 = NDArray[np.float64]


def wcs_map(science: Image, reference: Image) -> PlaneMap | None:
    """Polynomial map from science to reference pixels by their WCS; None where they have none.

    The full chain of projections and distortions is evaluated on a grid only: a polynomial of
    order 3 to 5 carries it to better than 0.01 pixel for any survey camera.
    """
    if science.wcs is None or reference.wcs is None:
        return None
    x, y = frame_grid(science.shape, 25)
    try:
        ra, dec = science.wcs.celestial.all_pix2world(x, y, 0)
        to_x, to_y = _world_to_pixel(reference.wcs, ra, dec)
    except (NoConvergence, ValueError):
        return None
    good = np.isfinite(to_x) & np.isfinite(to_y)
    if not good.all():
        return None
    for order in (3, 4, 5):
        found = fit_map(x, y, to_x=to_x, to_y=to_y, order=order, shape=science.shape)
        back_x, back_y = found(x, y)
        if float(np.hypot(back_x - to_x, back_y - to_y).max()) < 0.005:
            break
    return found


def _world_to_pixel(wcs: WCS, ra: Float64, dec: Float64) -> tuple[Float64, Float64]:
    """Pixel positions of sky positions; the distortion is inverted only where it can be."""
    x, y = wcs.celestial.all_world2pix(ra, dec, 0, maxiter=50, quiet=True)
    return np.asarray(x), np.asarray(y)


def vote_offset(
    prior: PlaneMap,
    reference_stars: StarList,
    science_stars: StarList,
    *,
    reach_pix: float,
    shape: tuple[int, int],
    max_stars: int = 300,
) -> Float64 | None:
    """Shift [reference pix] that brings most predicted stars onto stars, or None beyond chance.

    Every pair of a predicted science star and a reference star votes for its offset; the true
    shift collects one vote per common star in one place, all else is spread evenly.
    """
    x, y = prior(science_stars.x, science_stars.y)
    near = is_within(x, y, shape, margin=reach_pix)
    x, y = x[near][:max_stars], y[near][:max_stars]
    low = (x.min(), y.min()) if x.size else (0.0, 0.0)
    high = (x.max(), y.max()) if x.size else (0.0, 0.0)
    rx, ry = reference_stars.x, reference_stars.y
    close = (rx > low[0] - reach_pix) & (rx < high[0] + reach_pix)
    close &= (ry > low[1] - reach_pix) & (ry < high[1] + reach_pix)
    rx, ry = rx[close][:max_stars], ry[close][:max_stars]
    if x.size < 3 or rx.size < 3:
        return None
    offset = np.column_stack(
        [(rx[None, :] - x[:, None]).ravel(), (ry[None, :] - y[:, None]).ravel()]
    )
    offset = offset[np.hypot(offset[:, 0], offset[:, 1]) < reach_pix]
    if len(offset) < 3:
        return None
    tree = cKDTree(offset)
    radius = 2.0
    votes = tree.query_ball_point(offset, radius, return_length=True)
    best = int(np.argmax(votes))
    area = min(np.pi * reach_pix**2, float((high[0] - low[0] + 1) * (high[1] - low[1] + 1)) * 4)
    expected = len(offset) * np.pi * radius**2 / max(area, 1.0)
    # the peak of a flat Poisson field over all its cells stays below this
    if votes[best] < 3 or votes[best] < expected + 5.0 * np.sqrt(expected + 1.0) - 2.0:
        return None
    members = tree.query_ball_point(offset[best], radius)
    return np.asarray(np.median(offset[members], axis=0))


def wcs_error_arcsec(
    to_reference: Callable[[Float64, Float64], tuple[Float64, Float64]],
    reference: Image,
    science: Image,
) -> float | None:
    """Angle on the sky between where the stars and where the WCS put the frame's centre."""
    if reference.wcs is None or science.wcs is None:
        return None
    ny, nx = science.shape
    x, y = np.array([(nx - 1) / 2.0]), np.array([(ny - 1) / 2.0])
    ra1, dec1 = (np.radians(v) for v in science.wcs.celestial.all_pix2world(x, y, 0))
    ra2, dec2 = (
        np.radians(v) for v in reference.wcs.celestial.all_pix2world(*to_reference(x, y), 0)
    )
    hav = np.sin((dec2 - dec1) / 2) ** 2
    hav = hav + np.cos(dec1) * np.cos(dec2) * np.sin((ra2 - ra1) / 2) ** 2
    return float(np.degrees(2 * np.arcsin(np.sqrt(np.clip(hav[0], 0, 1)))) * 3600.0)
