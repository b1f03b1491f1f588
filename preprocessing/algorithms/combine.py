"""Combine frames of one kind: clipped mean, its variance, and which pixels are too noisy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from astrid_site.imaging.errors import AlgorithmError
from preprocessing.algorithms.readout import clipped_width, sorted_median

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

MIN_FRAMES = 3
_TILE = 32
# what the neighbours' noise counts for in the variance of one pixel, in frames
_PRIOR_FRAMES = 16.0
# one pixel in ten million is called noisy by chance
_NOISY_CHANCE = 1e-7
_NOISY_MARGIN = 1.5


@dataclass(frozen=True)
class Combined:
    """The clipped mean of several frames.

    Attributes
    ----------
    mean, variance : NDArray[float32], shape (ny, nx)
        Mean and its variance; both 0 where no frame is usable.
    noise : NDArray[float32], shape (ny, nx)
        Standard deviation of a pixel of one frame, as its neighbourhood has it.
    noisy : NDArray[bool], shape (ny, nx)
        Pixels that scatter more from frame to frame than their neighbours, beyond chance.
    n_used : NDArray[uint16], shape (ny, nx)
        Frames in each mean.
    n_clipped : int
        Values that were left out: cosmic rays, satellites.
    """

    mean: FloatArray
    variance: FloatArray
    noise: FloatArray
    noisy: BoolArray
    n_used: NDArray[np.uint16]
    n_clipped: int


def combine_frames(
    stack: FloatArray, *, clip_sigma: float = 5.0, block_bytes: int = 64 * 2**20
) -> Combined:
    """Combine frames pixel by pixel, a band of rows at a time.

    Parameters
    ----------
    stack : NDArray[float32], shape (n, ny, nx)
        Frames on one scale, best a memory map; NaN is a pixel that must not count.
    clip_sigma : float
        Values this far from the median of their pixel are left out [sigma].
    block_bytes : int
        Bytes of ``stack`` that are looked at together; some ten times as much is used.

    Returns
    -------
    Combined

    Raises
    ------
    AlgorithmError
        If there are fewer than 3 frames.

    Notes
    -----
    The width that clips is the larger of the pixel's own median deviation and that of its
    neighbourhood (differences of successive frames in tiles of 32 pixels): with five frames no
    value can lie 3 of their own standard deviations off, so that a plain sigma clip keeps every
    cosmic ray. The variance of a pixel is its sample variance drawn towards its neighbourhood's
    as if that were 16 frames more.
    """
    n, ny, nx = stack.shape
    if n < MIN_FRAMES:
        msg = f"{n} frames; {MIN_FRAMES} or more are needed to tell a cosmic ray from a pixel"
        raise AlgorithmError(msg, n_frames=n, n_required=MIN_FRAMES)
    rows = max(block_bytes // (4 * n * nx) // _TILE * _TILE, _TILE)
    bands = [
        _combine_band(np.asarray(stack[:, first : first + rows]), clip_sigma=clip_sigma)
        for first in range(0, ny, rows)
    ]
    return Combined(
        mean=np.concatenate([band.mean for band in bands]),
        variance=np.concatenate([band.variance for band in bands]),
        noise=np.concatenate([band.noise for band in bands]),
        noisy=np.concatenate([band.noisy for band in bands]),
        n_used=np.concatenate([band.n_used for band in bands]),
        n_clipped=sum(band.n_clipped for band in bands),
    )


def _combine_band(band: FloatArray, *, clip_sigma: float) -> Combined:
    n = len(band)
    known = np.isfinite(band)
    middle = sorted_median(band, axis=0)
    noise = _tile_noise(band)
    spread = np.abs(band - middle)
    own = 1.4826 * sorted_median(spread, axis=0)
    # the median of n values scatters by itself
    width = np.maximum(noise, own) * np.sqrt(1.0 + 1.57 / n)
    kept = known & (spread <= clip_sigma * width)
    n_used = kept.sum(axis=0)
    count = np.maximum(n_used, 1)
    mean = np.where(kept, band, 0.0).sum(axis=0, dtype=np.float64) / count
    square = np.where(kept, (band - mean) ** 2, 0.0).sum(axis=0, dtype=np.float64)
    freedom = np.maximum(n_used - 1, 0)
    single = (_PRIOR_FRAMES * noise**2 + square) / (_PRIOR_FRAMES + freedom)
    used = n_used > 0
    return Combined(
        mean=np.where(used, mean, 0.0).astype(np.float32),
        variance=np.where(used, single / count, 0.0).astype(np.float32),
        noise=noise.astype(np.float32),
        noisy=used & (square > _noisy_limit(freedom) * noise**2),
        n_used=n_used.astype(np.uint16),
        n_clipped=int((known & ~kept).sum()),
    )


def _noisy_limit(freedom: NDArray[np.int_]) -> NDArray[np.float64]:
    """Sum of squared pulls that chance reaches once in ten million pixels, with a margin.

    The margin is for the error of the neighbourhood's noise itself.
    """
    table = np.array(
        [np.inf, *stats.chi2.isf(_NOISY_CHANCE, np.arange(1, int(freedom.max(initial=0)) + 1))]
    )
    return np.asarray(_NOISY_MARGIN * table[freedom])


def _tile_noise(band: FloatArray) -> NDArray[np.float64]:
    """Standard deviation of one frame around each pixel, from differences of successive frames."""
    n, ny, nx = band.shape
    pad_y, pad_x = -ny % _TILE, -nx % _TILE
    steps = (band[1:] - band[:-1]) * np.float32(np.sqrt(0.5))
    padded = np.pad(steps, ((0, 0), (0, pad_y), (0, pad_x)), constant_values=np.nan)
    tall, wide = (ny + pad_y) // _TILE, (nx + pad_x) // _TILE
    widths = np.zeros((tall, wide))
    for row in range(tall):
        strip = padded[:, row * _TILE : (row + 1) * _TILE]
        tiles = strip.reshape(n - 1, _TILE, wide, _TILE).transpose(2, 0, 1, 3)
        widths[row] = clipped_width(np.ascontiguousarray(tiles).reshape(wide, -1))
    return np.repeat(np.repeat(widths, _TILE, axis=0), _TILE, axis=1)[:ny, :nx]
