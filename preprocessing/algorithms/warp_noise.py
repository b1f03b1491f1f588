"""How resampling correlates the noise of neighbouring pixels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from preprocessing.algorithms.two_pass import LineKernel

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Largest lag at most [science pix]: twice the kernel's reach on a reference with pixels 2.5 times
#: as wide. A difference weighs frequencies that hold a thousandth of the noise; to cut the tail of
#: the correlation would put more than that there.
_LARGEST_REACH = 16
_MAX_NODES = 400


def resampled_correlation(
    x: Float64, y: Float64, matrices: Float64, *, kernel: LineKernel
) -> FloatArray:
    """Mean correlation of the noise of resampled pixels, for white noise before.

    Parameters
    ----------
    x, y : NDArray[float64], shape (n,)
        Positions in the input of output pixels spread over the frame [pix].
    matrices : NDArray[float64], shape (n, 2, 2)
        Derivatives d(x', y') / d(x, y) of the map there.
    kernel : LineKernel
        The resampling kernel.

    Returns
    -------
    NDArray[float32], shape (2 reach + 1, 2 reach + 1)
        Coefficient at each lag (dy, dx) of output pixels, 1 in the middle.

    Notes
    -----
    The covariance of two pixels is the sum over input pixels of the products of their weights,
    here of the separable kernel: a product of one sum along each axis.
    """
    step = max(1, len(x) // _MAX_NODES)
    x, y, matrices = x[::step], y[::step], matrices[::step]
    # whole output pixels off the regular grid, on which a map by simple fractions has one phase
    off = np.stack([np.arange(len(x)) * 7 % 16, np.arange(len(x)) * 11 % 17])
    x, y = (
        place + matrices[:, axis, 0] * off[0] + matrices[:, axis, 1] * off[1]
        for axis, place in enumerate((x, y))
    )
    width = float(np.sqrt(np.median(np.abs(np.linalg.det(matrices)))))
    reach = min(math.ceil(2 * kernel.reach / width), _LARGEST_REACH)
    lags = np.arange(-reach, reach + 1, dtype=np.float64)
    dy, dx = (grid.ravel()[:, None] for grid in np.meshgrid(lags, lags, indexing="ij"))
    covariance = np.ones((dx.size, len(x)))
    for axis, position in enumerate((x, y)):
        moved = matrices[:, axis, 0] * dx + matrices[:, axis, 1] * dy
        covariance *= _overlap(position, moved, kernel)
    mean = covariance.mean(axis=1)
    relative = (mean / mean[mean.size // 2]).reshape(lags.size, lags.size)
    return np.asarray(relative, dtype=np.float32)


def _overlap(position: Float64, moved: Float64, kernel: LineKernel) -> Float64:
    """Sum of products of the weights at positions and at positions ``moved`` from them."""
    here, there = _phase(position, kernel), _phase(position + moved, kernel)
    # tap k of the second lies on tap k + apart of the first
    apart = np.floor(position + moved).astype(np.intp) - np.floor(position).astype(np.intp)
    total = np.zeros(moved.shape)
    for k in range(kernel.taps):
        other = k + apart
        both = (other >= 0) & (other < kernel.taps)
        first = kernel.weights[here, np.clip(other, 0, kernel.taps - 1)]
        total += np.where(both, first * kernel.weights[there, k], 0.0)
    return total


def _phase(position: Float64, kernel: LineKernel) -> NDArray[np.intp]:
    return np.rint((position - np.floor(position)) * kernel.phases).astype(np.intp)
