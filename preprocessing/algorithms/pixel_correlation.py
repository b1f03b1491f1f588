"""Correlate the structure of two frames and judge the peak against chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_MIN_OVERLAP = 0.1
_CLIP_SIGMA = 5.0


@dataclass(frozen=True)
class Structure:
    """What stands out of a frame at the scale of its PSF, on the working grid.

    ``values`` are clipped and in units of their own width, 0 where unusable; ``used`` says where
    they are known.
    """

    values: FloatArray
    used: BoolArray


@dataclass(frozen=True)
class Peak:
    """The best shift [working pix] and what speaks for it."""

    x: float
    y: float
    significance: float
    ratio: float


def find_structure(sampled: tuple[FloatArray, FloatArray], *, fwhm: float) -> Structure:
    """What is narrower than four PSF widths, in units of its own robust width, clipped."""
    pulls, weight = sampled
    used = weight > 0.5
    level = np.where(used, pulls / np.maximum(weight, np.float32(0.5)), np.float32(0))
    sigma = 4.0 * fwhm / 2.3548
    area = ndimage.gaussian_filter(used.astype(np.float32), sigma, mode="constant", truncate=3.0)
    broad = ndimage.gaussian_filter(level, sigma, mode="constant", truncate=3.0)
    sharp = level - broad / np.maximum(area, np.float32(1e-3))
    if not used.any():
        return Structure(np.zeros_like(sharp), used)
    centre = float(np.median(sharp[used]))
    width = 1.4826 * float(np.median(np.abs(sharp[used] - centre)))
    if width <= 0:
        return Structure(np.zeros_like(sharp), np.zeros_like(used))
    values = np.clip((sharp - np.float32(centre)) / np.float32(width), -_CLIP_SIGMA, _CLIP_SIGMA)
    values = values - np.float32(values[used].mean())
    return Structure(np.where(used, values, np.float32(0)).astype(np.float32), used)


def block_means(values: FloatArray, block: int) -> FloatArray:
    """Means over square blocks; what is left at the far edges is dropped."""
    if block == 1:
        return values
    ny, nx = values.shape[0] // block * block, values.shape[1] // block * block
    parts = values[:ny, :nx].reshape(ny // block, block, nx // block, block)
    return np.asarray(parts.mean(axis=(1, 3)), dtype=np.float32)


def correlate(fixed: Structure, moving: Structure, *, fwhm: float) -> Peak:
    """Best shift of ``moving`` on ``fixed``: its top-left pixel lies at (x, y) of ``fixed``."""
    size = [
        fft.next_fast_len(a + b - 1, real=True)
        for a, b in zip(fixed.values.shape, moving.values.shape, strict=True)
    ]

    def cross(first: FloatArray, second: FloatArray) -> FloatArray:
        product = fft.rfft2(first, size) * np.conj(fft.rfft2(second, size))
        return np.asarray(fft.irfft2(product, size), dtype=np.float32)

    overlap = cross(fixed.used.astype(np.float32), moving.used.astype(np.float32))
    least = _MIN_OVERLAP * min(int(fixed.used.sum()), int(moving.used.sum()))
    allowed = overlap > max(least, 200.0)
    power = cross(_local_power(fixed, fwhm), _local_power(moving, fwhm))
    # the floor keeps shifts that only bring blank sky together from dividing by nothing
    floor = np.maximum(power, np.float32(0.1) * np.maximum(overlap, np.float32(1)))
    score = np.where(allowed, cross(fixed.values, moving.values) / np.sqrt(floor), np.float32(0))
    return _judge(score, allowed, fixed.values.shape, fwhm=fwhm)


def _local_power(structure: Structure, fwhm: float) -> FloatArray:
    """Mean square of the structure around each pixel: how strong, not where exactly."""
    square = np.square(structure.values)
    spread = ndimage.gaussian_filter(square, 2.0 * fwhm, mode="constant", truncate=3.0)
    return np.asarray(spread, dtype=np.float32)


def _judge(score: FloatArray, allowed: BoolArray, shape: tuple[int, ...], *, fwhm: float) -> Peak:
    """The highest allowed peak against the spread and against the next one.

    Shifts at or beyond the ``shape`` of the fixed frame are the negative ones.
    """
    if allowed.sum() < 100:
        return Peak(0.0, 0.0, 0.0, 1.0)
    seen = np.where(allowed, score, -np.inf)
    at = np.unravel_index(int(seen.argmax()), score.shape)
    row, column = int(at[0]), int(at[1])
    values = score[allowed]
    centre = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - centre)))
    height = float(score[row, column]) - centre
    elsewhere = allowed & _away_from(score.shape, (row, column), reach=4.0 * fwhm)
    second = float(score[elsewhere].max()) - centre if elsewhere.any() else height
    dy, dx = _subpixel(score, row, column)
    return Peak(
        x=dx + (column - score.shape[1] if column >= shape[1] else column),
        y=dy + (row - score.shape[0] if row >= shape[0] else row),
        significance=height / spread if spread > 0 else 0.0,
        ratio=height / second if second > 0 else np.inf,
    )


def _away_from(shape: tuple[int, ...], at: tuple[int, int], *, reach: float) -> BoolArray:
    """Shifts farther than ``reach`` from one, on the periodic grid of the correlation."""
    distances = []
    for n, centre in zip(shape, at, strict=True):
        apart = np.abs(np.arange(n) - centre)
        distances.append(np.minimum(apart, n - apart).astype(np.float64))
    away: BoolArray = np.hypot(distances[0][:, None], distances[1][None, :]) > reach
    return away


def _subpixel(score: FloatArray, row: int, column: int) -> tuple[float, float]:
    """Top of the paraboloid through the 3 x 3 pixels of a peak, relative to its middle pixel."""
    rows = (row + np.arange(-1, 2)) % score.shape[0]
    columns = (column + np.arange(-1, 2)) % score.shape[1]
    near = score[np.ix_(rows, columns)].astype(np.float64)
    y, x = (axis.ravel() for axis in np.mgrid[-1:2, -1:2].astype(np.float64))
    terms = np.column_stack([np.ones(9), x, y, x**2, x * y, y**2])
    _, a, b, xx, xy, yy = np.linalg.lstsq(terms, near.ravel(), rcond=None)[0]
    curvature = np.array([[2 * xx, xy], [xy, 2 * yy]])
    if np.linalg.det(curvature) <= 0:
        return 0.0, 0.0
    dx, dy = np.clip(-np.linalg.solve(curvature, np.array([a, b])), -0.7, 0.7)
    return float(dy), float(dx)


def count_structures(fixed: Structure, moving: Structure, peak: Peak, *, fwhm: float) -> float:
    """Effective number of PSF-sized cells that make the correlation at the peak.

    The participation ratio of the cells' positive contributions: n equal ones count as n, one
    that outweighs all others as 1. What cells contribute by chance, in both signs alike, is
    taken out through the negative ones.
    """
    dx, dy = round(peak.x), round(peak.y)
    ny, nx = fixed.values.shape
    my, mx = moving.values.shape
    top, bottom = max(0, dy), min(ny, my + dy)
    left, right = max(0, dx), min(nx, mx + dx)
    if bottom - top < 4 or right - left < 4:
        return 0.0
    product = (
        fixed.values[top:bottom, left:right]
        * moving.values[top - dy : bottom - dy, left - dx : right - dx]
    )
    cells = block_means(product, max(1, min(round(2.0 * fwhm), min(product.shape))))
    total = float(cells.sum())
    gain, loss = cells[cells > 0], cells[cells < 0]
    power = float(np.square(gain).sum() - np.square(loss).sum())
    return total**2 / power if total > 0 and power > 0 else 0.0
