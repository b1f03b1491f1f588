"""Whether two frames show the same field although their world coordinates say otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import map_coordinates

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad

FloatArray = NDArray[np.float64]

#: Correlation of the two frames at the best shift from which they show the same thing.
MIN_CORRELATION = 0.7
#: The frames must share this part of the smaller one at the best shift.
_MIN_SHARED = 0.5
_MAX_SIDE = 256


@dataclass(frozen=True)
class ContentMatch:
    """How one frame lies on another by what both show.

    Attributes
    ----------
    correlation : float
        Pearson correlation of the shared pixels at the best shift, in [-1, 1].
    shared : float
        Fraction of the smaller frame that is shared there.
    offset_arcsec : float
        How far apart the two world coordinates put the same point of the sky.
    """

    correlation: float
    shared: float
    offset_arcsec: float

    @property
    def is_same_field(self) -> bool:
        """Whether chance does not explain the agreement."""
        return self.correlation >= MIN_CORRELATION


def match_content(science: Image, reference: Image) -> ContentMatch | None:
    """Find the shift at which two frames show the same thing, and what their WCS say of it.

    For frames with too few stars for a pattern: a galaxy is a pattern too. Scale and orientation
    are taken from the world coordinates, only the position is searched.

    Parameters
    ----------
    science, reference : Image
        Background-subtracted, with variance and world coordinates.

    Returns
    -------
    ContentMatch or None
        None where a frame lacks world coordinates or shows nothing.

    Raises
    ------
    ValueError
        If a variance is missing.

    References
    ----------
    .. [1] Padfield 2012, IEEE Trans. Image Process. 21, 2706: normalised correlation of masked
       images, eq. 7.
    """
    if science.wcs is None or reference.wcs is None:
        return None
    scale = _common_scale(science, reference)
    mine, theirs = _north_up(science, scale), _north_up(reference, scale)
    if not (mine.weight.any() and theirs.weight.any()):
        return None
    correlation, shared = _masked_correlation(mine, theirs)
    allowed = shared >= _MIN_SHARED * min(mine.weight.sum(), theirs.weight.sum())
    if not allowed.any():
        return None
    best = np.unravel_index(int(np.where(allowed, correlation, -2.0).argmax()), correlation.shape)
    row = int(best[0]) - (theirs.weight.shape[0] - 1)
    column = int(best[1]) - (theirs.weight.shape[1] - 1)
    return ContentMatch(
        correlation=float(correlation[best]),
        shared=float(shared[best] / min(mine.weight.sum(), theirs.weight.sum())),
        offset_arcsec=_disagreement(mine, theirs, row=row, column=column),
    )


@dataclass(frozen=True)
class _Patch:
    """A frame resampled north up, east left, with compressed brightness."""

    values: FloatArray
    weight: FloatArray
    wcs: WCS


def _common_scale(science: Image, reference: Image) -> float:
    """Pixel scale [deg] of the coarser frame, coarser still for frames of many pixels."""
    scales = []
    for image in (science, reference):
        scale = math.sqrt(abs(np.linalg.det(image.wcs.celestial.pixel_scale_matrix)))
        scales.append(scale * max(1.0, max(image.shape) / _MAX_SIDE))
    return max(scales)


def _north_up(image: Image, scale: float) -> _Patch:
    """Resample by the linear part of the world coordinates around the centre of the frame."""
    if image.variance is None:
        msg = "image: match_content needs the variance"
        raise ValueError(msg)
    ny, nx = image.shape
    matrix = image.wcs.celestial.pixel_scale_matrix / scale
    corners = np.array([[-nx, -ny], [nx, -ny], [nx, ny], [-nx, ny]]) / 2.0 @ matrix.T
    half = np.ceil(np.abs(corners).max(axis=0)).astype(int)
    east, north = np.meshgrid(
        np.arange(half[0], -half[0] - 1, -1), np.arange(-half[1], half[1] + 1)
    )
    x, y = np.linalg.inv(matrix) @ np.stack([east.ravel(), north.ravel()])
    at = np.stack([y + (ny - 1) / 2.0, x + (nx - 1) / 2.0])
    noise = np.sqrt(np.maximum(image.variance, 1e-30))
    # asinh: one bright core must not be all that counts
    bright = np.where(is_bad(image.mask), 0.0, np.arcsinh(image.data / (3.0 * noise)))
    values = map_coordinates(bright, at, order=1, cval=0.0).reshape(east.shape)
    good = (~is_bad(image.mask)).astype(np.float64)
    weight = map_coordinates(good, at, order=1, cval=0.0).reshape(east.shape) > 0.99
    return _Patch(values * weight, weight.astype(np.float64), _patch_wcs(image, half, scale))


def _patch_wcs(image: Image, half: NDArray[np.int64], scale: float) -> WCS:
    ny, nx = image.shape
    ra, dec = image.wcs.celestial.all_pix2world((nx - 1) / 2.0, (ny - 1) / 2.0, 0)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [float(ra), float(dec)]
    wcs.wcs.crpix = [half[0] + 1.0, half[1] + 1.0]
    wcs.wcs.cdelt = [-scale, scale]
    return wcs


def _masked_correlation(a: _Patch, b: _Patch) -> tuple[FloatArray, FloatArray]:
    """Correlation at every shift of ``b`` over ``a``, and the number of pixels shared there."""
    shape = tuple(n + m - 1 for n, m in zip(a.values.shape, b.values.shape, strict=True))
    size = tuple(next_fast_len(n, real=True) for n in shape)

    def correlate(first: FloatArray, second: FloatArray) -> FloatArray:
        product = rfft2(first, size) * rfft2(second[::-1, ::-1], size)
        return np.asarray(irfft2(product, size)[: shape[0], : shape[1]], dtype=np.float64)

    shared = np.maximum(correlate(a.weight, b.weight).round(), 0.0)
    n = np.maximum(shared, 1.0)
    sum_a, sum_b = correlate(a.values, b.weight), correlate(a.weight, b.values)
    cross = correlate(a.values, b.values) - sum_a * sum_b / n
    spread_a = correlate(a.values**2, b.weight) - sum_a**2 / n
    spread_b = correlate(a.weight, b.values**2) - sum_b**2 / n
    spread = np.sqrt(np.maximum(spread_a, 0.0) * np.maximum(spread_b, 0.0))
    usable = spread > 1e-6 * float(spread.max(initial=0.0)) + 1e-12
    return np.where(usable, cross / np.where(usable, spread, 1.0), 0.0), shared


def _disagreement(mine: _Patch, theirs: _Patch, *, row: int, column: int) -> float:
    """Separation of where the two WCS put the middle of the shared part [arcsec]."""
    y = (max(row, 0) + min(row + theirs.weight.shape[0], mine.weight.shape[0]) - 1) / 2.0
    x = (max(column, 0) + min(column + theirs.weight.shape[1], mine.weight.shape[1]) - 1) / 2.0
    here = SkyCoord(*mine.wcs.all_pix2world(x, y, 0), unit="deg")
    there = SkyCoord(*theirs.wcs.all_pix2world(x - column, y - row, 0), unit="deg")
    return float(here.separation(there).arcsec)
