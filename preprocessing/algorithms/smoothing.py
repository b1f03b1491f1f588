"""Separable symmetric filters of whole frames, strip by strip within the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

#: Rows worked on at once: a strip of a 4096-pixel frame is half a megabyte.
STRIP = 32


class StripFilter:
    """A separable symmetric filter of strips of ``nx`` columns and at most ``STRIP`` rows.

    Its buffers are used again from strip to strip: fresh ones cost three times the arithmetic,
    for the system clears every page it hands out.

    Parameters
    ----------
    weight : NDArray[float32], shape (reach + 1,)
        The kernel along each axis, from its middle outwards.
    nx : int
        Columns of the result.
    """

    def __init__(self, weight: FloatArray, nx: int) -> None:
        self._weight = weight
        reach = len(weight) - 1
        #: Pixels of a strip with the neighbours that the kernel reaches, for the caller to fill.
        self.block = np.empty((STRIP + 2 * reach, nx + 2 * reach), dtype=np.float32)
        self._between = np.empty((STRIP, nx + 2 * reach), dtype=np.float32)
        self._pair = np.empty_like(self._between)

    def apply(self, out: FloatArray) -> FloatArray:
        """Filter the first rows of ``block`` into ``out``, (rows, nx), and return it."""
        rows = len(out)
        between, pair = self._between[:rows], self._pair[:rows]
        self._sum_pairs(self.block, between, pair)
        self._sum_pairs(between.T, out.T, pair[:, : out.shape[1]].T)
        return out

    def _sum_pairs(self, samples: FloatArray, out: FloatArray, pair: FloatArray) -> None:
        """Weighted sums along the first axis, the samples at equal distance added first."""
        reach, length = len(self._weight) - 1, len(out)
        np.multiply(samples[reach : reach + length], self._weight[0], out=out)
        for step in range(1, reach + 1):
            before, after = reach - step, reach + step
            np.add(samples[before : before + length], samples[after : after + length], out=pair)
            pair *= self._weight[step]
            out += pair


def gaussian_smooth(plane: FloatArray, sigma: float, *, truncate: float = 3.0) -> FloatArray:
    """Convolve a plane with a unit-sum Gaussian; beyond its edges the plane is mirrored.

    Parameters
    ----------
    plane : NDArray[float32], shape (ny, nx)
        Any plane whose sides are longer than the kernel's reach.
    sigma : float
        Standard deviation of the Gaussian [pix].
    truncate : float
        Reach of the kernel [sigma].

    Returns
    -------
    NDArray[float32], shape (ny, nx)

    Notes
    -----
    The same as ``scipy.ndimage.gaussian_filter`` to float32 rounding, five times as fast:
    sums of mirrored pairs of rows and columns, in float32 and in the cache.
    """
    smooth = np.empty(plane.shape, dtype=np.float32)
    for rows, strip in smooth_strips(plane, sigma, truncate=truncate):
        smooth[rows] = strip
    return smooth


def smooth_strips(
    plane: FloatArray, sigma: float, *, truncate: float = 3.0
) -> Iterator[tuple[slice, FloatArray]]:
    """What ``gaussian_smooth`` makes of some rows at a time; the next strip overwrites the last."""
    reach = int(truncate * sigma + 0.5)
    weight = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weight = (weight / (weight[0] + 2.0 * weight[1:].sum())).astype(np.float32)
    ny, nx = plane.shape
    strip = StripFilter(weight, nx)
    smooth = np.empty((STRIP, nx), dtype=np.float32)
    for first in range(0, ny, STRIP):
        last = min(first + STRIP, ny)
        block = strip.block[: last - first + 2 * reach]
        inner = block[:, reach : reach + nx]
        inner[:] = _with_neighbours(plane, first, last, reach=reach)
        block[:, :reach] = inner[:, :reach][:, ::-1]
        block[:, reach + nx :] = inner[:, nx - reach :][:, ::-1]
        yield slice(first, last), strip.apply(smooth[: last - first])


def _with_neighbours(plane: FloatArray, first: int, last: int, *, reach: int) -> FloatArray:
    """Rows ``first - reach`` to ``last + reach``, mirrored at the edges of the plane."""
    ny = len(plane)
    if first >= reach and last + reach <= ny:
        return plane[first - reach : last + reach]
    index = np.abs(np.arange(first - reach, last + reach) + 0.5) - 0.5
    index = np.where(index >= ny, 2 * ny - 1 - index, index).astype(np.intp)
    return np.asarray(plane[index], dtype=np.float32)
