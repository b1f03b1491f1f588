"""Proof that wcslib survives a rebuilt header and that the sky it gives is usable."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS, NoConvergence
from numpy.typing import NDArray

from astrid_site.imaging.wcs_header import (
    MAX_SCALE_DEG,
    MIN_SCALE_DEG,
    WcsHeader,
    build_wcs,
)

#: A distortion whose inverse misses by more than this is extrapolated nonsense [pix].
_MAX_ROUND_TRIP_PIX = 1.0


def prove_wcs(header: WcsHeader, *, shape: tuple[int, int]) -> str | None:
    """What is wrong with the sky that a rebuilt header gives a frame, or None.

    Parameters
    ----------
    header : dict
        Made by ``rebuild_wcs``.
    shape : tuple of int
        (ny, nx) of the frame.

    Returns
    -------
    str or None
        None where the corners, edges and centre have finite positions, the pixel scale there is
        credible, and positions lead back to their pixels.
    """
    try:
        wcs = build_wcs(header)
        pixels = _probes(shape)
        sky = wcs.all_pix2world(pixels, 0)
    except (ValueError, MemoryError) as error:
        # every error of wcslib derives from ValueError
        return f"wcslib refuses it ({str(error).splitlines()[0]})"
    if not np.isfinite(sky).all():
        return "parts of the frame lie off the sky"
    scale = _local_scale(wcs, pixels)
    if not (scale.min() >= MIN_SCALE_DEG and scale.max() <= MAX_SCALE_DEG):
        return f"the pixel scale runs from {scale.min():g} to {scale.max():g} deg"
    return _check_inverse(wcs, pixels, sky)


def _probes(shape: tuple[int, int]) -> NDArray[np.float64]:
    ny, nx = shape
    x, y = np.meshgrid([0.0, (nx - 1) / 2.0, nx - 1.0], [0.0, (ny - 1) / 2.0, ny - 1.0])
    return np.column_stack([x.ravel(), y.ravel()])


def _local_scale(wcs: WCS, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square root of the pixel area at each probe [deg]."""
    here = _vectors(wcs.all_pix2world(pixels, 0))
    right = _vectors(wcs.all_pix2world(pixels + np.array([1.0, 0.0]), 0)) - here
    up = _vectors(wcs.all_pix2world(pixels + np.array([0.0, 1.0]), 0)) - here
    area = np.linalg.norm(np.cross(right, up), axis=1)
    scale: NDArray[np.float64] = np.degrees(np.sqrt(area))
    return np.nan_to_num(scale, nan=np.inf)


def _check_inverse(wcs: WCS, pixels: NDArray[np.float64], sky: NDArray[np.float64]) -> str | None:
    try:
        back = wcs.all_world2pix(sky, 0, quiet=False, maxiter=50)
    except NoConvergence:
        return "its distortion cannot be inverted"
    worst = float(np.abs(back - pixels).max())
    # NaN must fail too
    return None if worst <= _MAX_ROUND_TRIP_PIX else "its distortion cannot be inverted"


def _vectors(sky: NDArray[np.float64]) -> NDArray[np.float64]:
    ra, dec = np.radians(sky[:, 0]), np.radians(sky[:, 1])
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
