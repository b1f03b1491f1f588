"""The smooth difference of the two backgrounds that is left over the frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.psf import position_terms
from differencing.algorithms.tiles import Filtered
from preprocessing.algorithms.sky_mesh import Mesh, lay_mesh, smooth_mesh, spread_strips

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Float64 = NDArray[np.float64]

_CELL_PIX = 64
_MIN_PIXELS = 50
#: Blank pixels that fix a median to a twentieth of their width.
_FIRM_PIXELS = 500
_ROWS = 64
_CLIP_SIGMA = 4.0
#: What a polynomial leaves is taken off too where it reaches this share of the noise.
_NOTABLE = 0.05


@dataclass(frozen=True)
class BackgroundLevel:
    """The level that was taken off, and what it left.

    Attributes
    ----------
    rms : float
        Root mean square of the level over the frame [science units].
    left : float or None
        What 99 % of the cells of 64 pixels stay under: the size of the median of their blank sky,
        in units of its noise. Noise alone leaves 0.07. None without a cell of 500 such pixels.
    """

    rms: float
    left: float | None


@dataclass(frozen=True)
class _Cells:
    """Blank sky of cells: median, width and number of pixels, each of the mesh's shape."""

    mesh: Mesh
    median: Float64
    width: Float64
    count: Float64


def subtract_background(
    filtered: Filtered, blank: BoolArray, *, order: int
) -> tuple[Filtered, BackgroundLevel]:
    """Subtract a smooth level fitted to the medians of blank sky, in place.

    A polynomial of low order, and over it, where that leaves more than the noise, the surface that
    the cells allow. A smooth level passes the whitening and the unit-sum matched filter unchanged,
    so the same level is taken from difference and signal.

    Parameters
    ----------
    filtered : Filtered
        Difference and signal.
    blank : NDArray[bool], shape (ny, nx)
        Blank sky.
    order : int
        Highest order of the polynomial; lower where few cells of the frame have enough blank sky.

    Returns
    -------
    tuple
        The planes, changed, and the level.
    """
    cells = _measure_cells(filtered, blank)
    known = cells.count > 0
    n_known = int(np.count_nonzero(known))
    while order > 0 and n_known < 3 * (order + 1) * (order + 2) // 2:
        order -= 1
    if n_known == 0:
        return filtered, BackgroundLevel(0.0, None)
    ny, nx = filtered.difference.shape
    y, x = np.meshgrid(*cells.mesh.middles(), indexing="ij")
    terms = position_terms(x.ravel(), y.ravel(), shape=(ny, nx), order=order)
    solution = _fit_clipped(terms[known.ravel()], cells.median[known])
    left = cells.median - (terms @ solution).reshape(known.shape)
    relief = _relief(left, cells)
    squares = 0.0
    for rows, bend in _bends(relief, cells.mesh):
        surface = _surface(solution, order, rows, shape=(ny, nx)) + bend
        filtered.difference[rows] -= surface
        filtered.difference[rows][filtered.bad[rows]] = 0.0
        filtered.signal[rows] -= surface
        squares += float(np.square(surface).sum(dtype=np.float64))
    rms = float(np.sqrt(squares / filtered.difference.size))
    return filtered, BackgroundLevel(rms, _largest(left - relief, cells))


def _relief(left: Float64, cells: _Cells) -> Float64:
    """What the cells show beyond the polynomial; 0 where that is but noise."""
    relief = smooth_mesh(left, np.minimum(cells.count / _FIRM_PIXELS, 1.0), cells.mesh)
    known = cells.count > 0
    if np.abs(relief[known]).max() < _NOTABLE * float(np.median(cells.width[known])):
        return np.zeros_like(relief)
    return relief


def _bends(relief: Float64, mesh: Mesh) -> Iterator[tuple[slice, FloatArray | np.float32]]:
    """The relief on the pixels of some rows after the other."""
    if relief.any():
        yield from spread_strips(relief, mesh, height=_ROWS)
        return
    ny = int(mesh.y_edges[-1])
    for first in range(0, ny, _ROWS):
        yield slice(first, min(first + _ROWS, ny)), np.float32(0)


def _largest(left: Float64, cells: _Cells) -> float | None:
    """The level that is left in all but 1 % of the cells, over the noise of their pixels."""
    firm = (cells.count >= _FIRM_PIXELS) & (cells.width > 0)
    if not firm.any():
        return None
    return float(np.percentile(np.abs(left[firm]) / cells.width[firm], 99))


def _surface(
    solution: NDArray[np.float64], order: int, rows: slice, *, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """The polynomial on all pixels of some rows: powers of x with coefficients from y."""
    ny, nx = shape
    u = 2.0 * np.arange(nx) / max(nx - 1, 1) - 1.0
    v = 2.0 * np.arange(rows.start, rows.stop) / max(ny - 1, 1) - 1.0
    along_y = np.zeros((order + 1, len(v)))
    terms = iter(solution)
    for total in range(order + 1):
        for j in range(total + 1):
            along_y[total - j] += next(terms) * v**j
    powers = u ** np.arange(order + 1)[:, None]
    return (along_y.T @ powers).astype(np.float32)


def _measure_cells(filtered: Filtered, blank: BoolArray) -> _Cells:
    """Medians and widths of the cells with enough blank sky."""
    mesh = lay_mesh((blank.shape[0], blank.shape[1]), _CELL_PIX)
    median, width, count = (np.zeros(mesh.shape) for _ in range(3))
    for i, (top, bottom) in enumerate(zip(mesh.y_edges[:-1], mesh.y_edges[1:], strict=True)):
        # every other row: the median of 2000 pixels is good to 0.03 of their width
        rows = slice(top, bottom, 2)
        band = np.where(blank[rows], filtered.difference[rows], np.float32(np.inf))
        counts = np.add.reduceat(blank[rows].sum(axis=0), mesh.x_edges[:-1])
        for j, (first, last) in enumerate(zip(mesh.x_edges[:-1], mesh.x_edges[1:], strict=True)):
            n = int(counts[j])
            if n >= _MIN_PIXELS:
                # what is not blank goes to the end
                values = np.sort(band[:, first:last], axis=None)
                low, high = values[int(0.15866 * n)], values[int(0.84134 * n)]
                median[i, j] = 0.5 * float(values[(n - 1) // 2] + values[n // 2])
                width[i, j], count[i, j] = 0.5 * float(high - low), n
    return _Cells(mesh, median, width, count)


def _fit_clipped(terms: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares with one round of clipping."""
    solution, *_ = np.linalg.lstsq(terms, level, rcond=None)
    residual = level - terms @ solution
    width = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
    keep = np.abs(residual) <= _CLIP_SIGMA * max(width, 1e-30)
    if keep.sum() <= 2 * terms.shape[1]:
        return np.asarray(solution)
    solution, *_ = np.linalg.lstsq(terms[keep], level[keep], rcond=None)
    return np.asarray(solution)
