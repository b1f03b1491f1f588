"""Resampling along rows and then along columns, for maps that hardly turn the frame."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import MaskPlane
from preprocessing.algorithms.resampled_planes import OUTSIDE, Planes

__all__ = ["GRID_STEP", "LineKernel", "Planes", "hardly_turns", "resample_in_two_passes"]

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
Index = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

#: Step of the coarse grids between which positions are interpolated [pix].
GRID_STEP = 32
#: Largest turn or shear of a map that two passes follow. The kernel is sheared by as much, which
#: changes a pixel beside a sharp star by up to this share of its peak: as much as a Lanczos-3
#: kernel errs there by itself.
_LARGEST_TURN = 0.004
#: Rows over which the weights are taken as linear, and the drift of a position [pix] up to which
#: they may be: the weights bend by at most 4e-4 of the largest over that.
_STRIPS = (32, 16, 8, 4, 2)
_LARGEST_DRIFT = 0.03
#: Rows of the result made at once: they and their sources stay in the processor's cache.
_BAND = 64
#: With more runs of columns than this it is quicker to gather each column.
_MOST_RUNS = 64


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

    def spread(self, place: Float64) -> FloatArray:
        """Weights of ``taps + 1`` samples for places between 0 and 2 pixels from their floor.

        Shape (taps + 1, n); linear between the phases.
        """
        is_beyond: BoolArray = place >= 1.0
        position = (place - is_beyond) * self.phases
        phase = np.minimum(position.astype(np.intp), self.phases - 1)
        share = (position - phase).astype(np.float32)
        low, high = self.weights.take(phase, axis=0), self.weights.take(phase + 1, axis=0)
        spread = np.zeros((self.taps + 1, place.size), dtype=np.float32)
        spread[:-1] = (low + (high - low) * share[:, None]).T
        if is_beyond.any():
            spread[1:, is_beyond] = spread[:-1, is_beyond].copy()
            spread[0, is_beyond] = 0.0
        return spread


def hardly_turns(matrices: Float64) -> bool:
    """Whether two passes may stand for a map of these derivatives d(x', y') / d(x, y)."""
    across = max(np.abs(matrices[:, 0, 1]).max(), np.abs(matrices[:, 1, 0]).max())
    along = min(matrices[:, 0, 0].min(), matrices[:, 1, 1].min())
    return bool(across <= _LARGEST_TURN * along)


def resample_in_two_passes(
    source: Planes,
    kernel: LineKernel,
    *,
    columns: Float64,
    rows: Float64,
    area: Float64,
    shape: tuple[int, int],
    threads: int = 1,
) -> Planes:
    """Resample planes along their rows and then along their columns.

    Parameters
    ----------
    source : Planes
        What is sampled.
    kernel : LineKernel
        The weights; the variance is summed with their squares, the mask over their footprint.
    columns : NDArray[float64]
        Source column seen in each source row and column of the result, on every
        ``GRID_STEP``-th of both.
    rows : NDArray[float64]
        Source row seen at each pixel of the result, on every ``GRID_STEP``-th.
    area : NDArray[float64]
        By which the values are multiplied, on the same nodes as ``rows``.
    shape : tuple of int
        (ny, nx) of the result.
    threads : int
        Parts of the frame worked on at the same time.

    Returns
    -------
    Planes
        Where the footprint leaves the source: 0, and ``NO_DATA`` alone.
    """
    result = Planes.empty(shape, with_variance=source.variance is not None)
    along_rows = _Pass(kernel, columns, nx=shape[1], axis=1)
    along_columns = _Pass(kernel, rows, nx=shape[1], axis=0)
    edges = np.linspace(0, -(-shape[0] // _BAND), max(threads, 1) + 1).astype(int) * _BAND

    def work(part: tuple[int, int]) -> None:
        bands = _Bands(source, along_rows, along_columns)
        for first in range(part[0], min(part[1], shape[0]), _BAND):
            here = slice(first, min(first + _BAND, shape[0]))
            bands.make(here, result.at(here))
            _scale(result.at(here), area, here)

    parts = list(itertools.pairwise(edges.tolist()))
    if len(parts) == 1:
        work(parts[0])
        return result
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(work, parts))
    return result


def _scale(planes: Planes, area: Float64, rows: slice) -> None:
    """Multiply values by the pixels' area; say in the mask what lies outside."""
    for first in range(rows.start, rows.stop, GRID_STEP):
        part = planes.at(slice(first - rows.start, first - rows.start + GRID_STEP))
        top, bottom = (_line(area, row, part.values.shape[1]) for row in (first, first + GRID_STEP))
        share = (np.arange(len(part.values)) / GRID_STEP).astype(np.float32)[:, None]
        scale = (bottom - top).astype(np.float32) * share + top.astype(np.float32)
        np.multiply(part.values, scale, out=part.values)
        outside = part.mask >= OUTSIDE
        is_cut = bool(outside.any())
        if is_cut:
            part.values[outside] = 0.0
            part.mask[outside] = np.uint16(MaskPlane.NO_DATA)
        if part.variance is not None:
            np.square(scale, out=scale)
            np.multiply(part.variance, scale, out=part.variance)
            if is_cut:
                part.variance[outside] = 0.0


def _line(grid: Float64, row: int, nx: int) -> Float64:
    """Bilinear values of a coarse grid along one row of pixels."""
    i, f = divmod(row, GRID_STEP)
    line = grid[i] if f == 0 else grid[i] + (grid[i + 1] - grid[i]) * (f / GRID_STEP)
    n_cells = -(-nx // GRID_STEP)
    step = np.diff(line[: n_cells + 1])[:, None]
    values = line[:n_cells, None] + step * (np.arange(GRID_STEP) / GRID_STEP)
    return np.asarray(values.reshape(-1)[:nx])


class _Bands:
    """Bands of the result, from bands of rows resampled once and kept while they are needed."""

    def __init__(self, source: Planes, along_rows: _Pass, along_columns: _Pass) -> None:
        self._source, self._along_rows, self._along_columns = source, along_rows, along_columns
        self._first = self._stop = 0
        self._band: Planes | None = None

    def make(self, rows: slice, out: Planes) -> None:
        """Some rows of the result."""
        first, stop = self._along_columns.source_rows(rows)
        band = self._load(first, stop)
        self._along_columns.run(band, rows, out, origin=first)

    def _load(self, first: int, stop: int) -> Planes:
        """Source rows ``first`` to ``stop``, resampled along themselves."""
        nx = self._along_rows.nx
        band = Planes.empty((stop - first, nx), with_variance=self._source.variance is not None)
        known = range(max(first, self._first), min(stop, self._stop))
        if self._band is not None and len(known):
            band.at(slice(known.start - first, known.stop - first)).copy_from(
                self._band.at(slice(known.start - self._first, known.stop - self._first))
            )
            missing = [(first, known.start), (known.stop, stop)]
        else:
            missing = [(first, stop)]
        for start, end in missing:
            self._resample(start, end, band, origin=first)
        self._band, self._first, self._stop = band, first, stop
        return band

    def _resample(self, first: int, stop: int, band: Planes, *, origin: int) -> None:
        """Resample source rows into a band; rows that the source does not have are blank."""
        ny = len(self._source.values)
        start, end = min(max(first, 0), ny), max(min(stop, ny), 0)
        for a, b in ((first, min(start, stop)), (max(end, first), stop)):
            if b > a:
                band.at(slice(a - origin, b - origin)).blank()
        if end > start:
            target = band.at(slice(start - origin, end - origin))
            self._along_rows.run(self._source, slice(start, end), target, origin=0)


class _Pass:
    """Resampling along one axis: 1 along rows, 0 along columns."""

    def __init__(self, kernel: LineKernel, grid: Float64, *, nx: int, axis: int) -> None:
        self._kernel, self._grid, self._axis, self.nx = kernel, grid, axis, nx
        drift = np.diff(grid, axis=0) / GRID_STEP - (1.0 if axis == 0 else 0.0)
        drifted = float(np.abs(drift).max(initial=0.0))
        self._height = next((n for n in _STRIPS if n * drifted <= _LARGEST_DRIFT), 1)

    def source_rows(self, rows: slice) -> tuple[int, int]:
        """First source row needed for some rows of the result, and the first one beyond."""
        nodes = self._grid[rows.start // GRID_STEP : -(-rows.stop // GRID_STEP) + 1]
        reach = self._kernel.reach
        # one row more: where places fall behind the rows, the floor of a strip's last place
        # is below that of its first one
        return int(np.floor(nodes.min())) - reach, int(np.floor(nodes.max())) + reach + 2

    def run(self, source: Planes, rows: slice, out: Planes, *, origin: int) -> None:
        """Resample some rows of the result; ``origin`` is the row that the source starts with."""
        first = rows.start
        while first < rows.stop:
            # weights are linear between rows of the same strip of the grid
            last = min((first // self._height + 1) * self._height, rows.stop)
            part = out.at(slice(first - rows.start, last - rows.start))
            self._strip(source, slice(first, last), part, origin=origin)
            first = last

    def _strip(self, source: Planes, rows: slice, out: Planes, *, origin: int) -> None:
        top, bottom = (self._places(row) for row in (rows.start, rows.stop))
        if self._height == 1:
            bottom = top
        floor = np.floor(np.minimum(top, bottom))
        weights = self._kernel.spread(top - floor)
        slopes = self._kernel.spread(bottom - floor) - weights
        base = floor.astype(np.intp)
        is_crossing = np.floor(np.maximum(top, bottom)) > floor
        usable = self._usable(base, is_crossing, source)
        runs = self._runs(base, is_crossing, usable)
        share = (np.arange(rows.stop - rows.start) / (rows.stop - rows.start)).astype(np.float32)
        samples = _Samples(source, rows, base, is_crossing, origin=origin, axis=self._axis)
        sums = _Sums(out)
        for k in range(self._kernel.taps + 1):
            used = [run for run in runs if k < self._kernel.taps or run.is_crossing]
            if used:
                sums.weigh(weights[k], slopes[k] if self._height > 1 else None, share)
                is_last, step = k == self._kernel.taps, k - self._kernel.reach + 1
                parts = [(run.columns, samples.of(run, step, is_last=is_last)) for run in used]
                sums.add(parts, is_first=k == 0)
        if not usable.all():
            _blank_columns(out, ~usable)

    def _places(self, row: int) -> Float64:
        """Positions along a row of the result; along columns relative to the row itself."""
        line = _line(self._grid, row, self.nx)
        return line - row if self._axis == 0 else line

    def _runs(self, base: Index, is_crossing: BoolArray, usable: BoolArray) -> list[_Run]:
        """Columns that move by one number of pixels, those whose samples exist."""
        moves = base - np.arange(self.nx) if self._axis == 1 else base
        kind = np.where(usable, 2 * moves + is_crossing, np.iinfo(np.intp).max)
        edges = np.flatnonzero(np.diff(kind)) + 1
        if len(edges) >= _MOST_RUNS and self._axis == 1:
            return [_Run(slice(0, self.nx), None, is_crossing=bool(is_crossing.any()))]
        bounds = [0, *edges.tolist(), self.nx]
        return [
            _Run(slice(a, b), int(moves[a]), is_crossing=bool(is_crossing[a]))
            for a, b in itertools.pairwise(bounds)
            if usable[a]
        ]

    def _usable(self, base: Index, is_crossing: BoolArray, source: Planes) -> BoolArray:
        """Columns whose samples all exist; rows beyond the source are in it as blank ones."""
        if self._axis == 0:
            return np.ones(self.nx, dtype=np.bool_)
        reach, n = self._kernel.reach, source.values.shape[1]
        return np.asarray((base >= reach - 1) & (base + is_crossing < n - reach))


@dataclass(frozen=True)
class _Run:
    """Columns that move by one number of pixels, gathered one by one where that is None.

    ``is_crossing`` where the floor of the positions changes within the strip.
    """

    columns: slice
    move: int | None
    is_crossing: bool


class _Samples:
    """The pixels from which some rows of the result are made."""

    def __init__(
        self,
        source: Planes,
        rows: slice,
        base: Index,
        is_crossing: BoolArray,
        *,
        origin: int,
        axis: int,
    ) -> None:
        self._source, self._base, self._axis = source, base, axis
        self._is_crossing = is_crossing
        self._rows = slice(rows.start - origin, rows.stop - origin)

    def of(self, run: _Run, step: int, *, is_last: bool) -> Planes:
        """Those of a run of columns, ``step`` pixels from the floor of their positions.

        The last are used where the floor changes within the strip, and flag nothing elsewhere.
        """
        if run.move is None:
            part = self._source.at(self._rows)
            at = np.clip(self._base + step, 0, part.values.shape[1] - 1)
            variance = None if part.variance is None else part.variance.take(at, axis=1)
            mask = part.mask.take(at, axis=1)
            if is_last:
                mask[:, ~self._is_crossing] = 0
            return Planes(part.values.take(at, axis=1), variance, mask)
        shift, rows, columns = run.move + step, self._rows, run.columns
        if self._axis == 1:
            columns = slice(columns.start + shift, columns.stop + shift)
        else:
            rows = slice(rows.start + shift, rows.stop + shift)
        part = self._source.at(rows)
        variance = None if part.variance is None else part.variance[:, columns]
        return Planes(part.values[:, columns], variance, part.mask[:, columns])


def _blank_columns(out: Planes, columns: NDArray[np.bool_]) -> None:
    out.values[:, columns] = 0.0
    out.mask[:, columns] = OUTSIDE
    if out.variance is not None:
        out.variance[:, columns] = 0.0


class _Sums:
    """Weighted sums of samples in some rows of the result."""

    def __init__(self, out: Planes) -> None:
        self._out = out
        self._weight, self._part = (np.empty_like(out.values) for _ in range(2))

    def weigh(self, weight: FloatArray, slope: FloatArray | None, share: FloatArray) -> None:
        """Set the weights: those of the first row, and how they change along the rows."""
        if slope is None:
            self._weight[:] = weight
            return
        np.multiply(slope, share[:, None], out=self._weight)
        self._weight += weight

    def add(self, parts: list[tuple[slice, Planes]], *, is_first: bool) -> None:
        """Add weighted values and flags; with the weights squared, variances."""
        for columns, samples in parts:
            self._add(samples.values, self._out.values[:, columns], columns, is_first=is_first)
            mask = self._out.mask[:, columns]
            if is_first:
                mask[:] = samples.mask
            else:
                np.bitwise_or(mask, samples.mask, out=mask)
        if self._out.variance is None:
            return
        np.square(self._weight, out=self._weight)
        for columns, samples in parts:
            if samples.variance is not None:
                total = self._out.variance[:, columns]
                self._add(samples.variance, total, columns, is_first=is_first)

    def _add(
        self, samples: FloatArray, total: FloatArray, columns: slice, *, is_first: bool
    ) -> None:
        weight = self._weight[:, columns]
        if is_first:
            np.multiply(samples, weight, out=total)
            return
        part = self._part[:, columns]
        np.multiply(samples, weight, out=part)
        np.add(total, part, out=total)
