"""Resampling along rows and then along columns, for maps that hardly turn the frame."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
Index = NDArray[np.intp]

#: Step of the coarse grids between which positions are interpolated [pix].
GRID_STEP = 32
#: Largest turn or shear of a map that two passes follow. The kernel is sheared by as much, which
#: changes a pixel beside a sharp star by up to this share of its peak: as much as a Lanczos-3
#: kernel errs there by itself.
_LARGEST_TURN = 0.004
_ROWS = 32


@dataclass(frozen=True)
class LineKernel:
    """Interpolation weights along one axis by sub-pixel phase.

    ``weights[p, k]`` is the weight of the sample ``k - reach + 1`` pixels from the floor of the
    position, for phase p / phases; the weights of each phase sum to 1.
    """

    weights: FloatArray
    reach: int

    @property
    def taps(self) -> int:
        """Samples per axis."""
        return 2 * self.reach

    @property
    def phases(self) -> int:
        """Phases per pixel."""
        return len(self.weights) - 1


def hardly_turns(matrices: Float64) -> bool:
    """Whether two passes may stand for a map of these derivatives d(x', y') / d(x, y)."""
    across = max(np.abs(matrices[:, 0, 1]).max(), np.abs(matrices[:, 1, 0]).max())
    along = min(matrices[:, 0, 0].min(), matrices[:, 1, 1].min())
    return bool(across <= _LARGEST_TURN * along)


def resample_lines(
    values: FloatArray,
    variance: FloatArray | None,
    kernel: LineKernel,
    *,
    grid: Float64,
    axis: int,
    length: int,
) -> tuple[FloatArray, FloatArray | None]:
    """Resample a plane and its variance along one axis.

    Parameters
    ----------
    values : NDArray[float32], shape (ny, nx)
        What is sampled.
    variance : NDArray[float32], shape (ny, nx), or None
        Summed with the squares of the same weights.
    kernel : LineKernel
        The weights.
    grid : NDArray[float64]
        Positions along ``axis`` on every ``GRID_STEP``-th pixel of the result.
    axis : int
        1 to move along rows, 0 along columns.
    length : int
        Pixels of the result along ``axis``; along the other it is as the plane is.

    Returns
    -------
    tuple of NDArray[float32]
        Positions beyond the plane are taken as those nearest whose samples all exist.
    """
    ny, nx = values.shape
    shape = (ny, length) if axis == 1 else (length, nx)
    moved = np.empty(shape, dtype=np.float32)
    moved_variance = None if variance is None else np.empty(shape, dtype=np.float32)
    limit = values.shape[axis] - kernel.reach - 1e-6
    for first in range(0, shape[0], _ROWS):
        rows = np.arange(first, min(first + _ROWS, shape[0]))
        position = np.clip(fine(grid, rows, shape[1]), kernel.reach - 1, limit)
        base = np.floor(position)
        phase = ((position - base) * kernel.phases + 0.5).astype(np.int32)
        lines = _Lines(base.astype(np.intp), rows, axis=axis)
        part = slice(rows[0], rows[-1] + 1)
        pairs = [(values, moved[part])]
        if variance is not None and moved_variance is not None:
            pairs.append((variance, moved_variance[part]))
        lines.sum_into(pairs, kernel, phase)
    return moved, moved_variance


def fine(grid: Float64, rows: Index, nx: int) -> Float64:
    """Bilinear values of a coarse grid on all pixels of some rows, shape (n_rows, nx)."""
    i, f = rows // GRID_STEP, (rows % GRID_STEP) / GRID_STEP
    lines = grid[i] * (1.0 - f)[:, None] + grid[i + 1] * f[:, None]
    n_cells = -(-nx // GRID_STEP)
    start, step = lines[:, :n_cells, None], np.diff(lines[:, : n_cells + 1])[:, :, None]
    values = start + step * (np.arange(GRID_STEP) / GRID_STEP)
    return np.asarray(values.reshape(len(rows), -1)[:, :nx])


class _Lines:
    """Samples of some rows of the result: runs of columns that move by one number of pixels."""

    def __init__(self, base: Index, rows: Index, *, axis: int) -> None:
        self._base, self._rows, self._axis = base, rows, axis
        own = rows[:, None] if axis == 0 else np.arange(base.shape[1])
        moves = base - own
        low, high = moves.min(axis=0), moves.max(axis=0)
        # columns whose pixels move differently are gathered one by one
        kind = np.where(low == high, low, np.iinfo(np.intp).min)
        edges = np.flatnonzero(np.diff(kind)) + 1
        bounds = [0, *edges.tolist(), len(kind)]
        self._runs = [
            (slice(a, b), int(low[a]) if low[a] == high[a] else None)
            for a, b in itertools.pairwise(bounds)
        ]

    def sum_into(
        self,
        pairs: list[tuple[FloatArray, FloatArray]],
        kernel: LineKernel,
        phase: NDArray[np.int32],
    ) -> None:
        """Weighted sums of the samples of a plane, and of a second with the weights squared."""
        weight, part = (np.empty(phase.shape, dtype=np.float32) for _ in range(2))
        for k in range(kernel.taps):
            kernel.weights[:, k].take(phase, out=weight, mode="clip")
            for order, (plane, result) in enumerate(pairs):
                if order == 1:
                    np.square(weight, out=weight)
                target = result if k == 0 else part
                for columns, move in self._runs:
                    samples = self._samples(plane, columns, move, k - kernel.reach + 1)
                    np.multiply(samples, weight[:, columns], out=target[:, columns])
                if k > 0:
                    result += part

    def _samples(self, plane: FloatArray, columns: slice, move: int | None, k: int) -> FloatArray:
        """The k-th samples of a run of columns."""
        first, last = int(self._rows[0]), int(self._rows[-1]) + 1
        if move is None:
            at = self._base[:, columns] + k
            other = np.arange(columns.start, columns.stop)
            return plane[at, other] if self._axis == 0 else plane[self._rows[:, None], at]
        shift = move + k
        if self._axis == 0:
            return plane[first + shift : last + shift, columns]
        return plane[first:last, columns.start + shift : columns.stop + shift]
