"""The smooth difference of the two backgrounds that is left over the frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.psf import position_terms
from differencing.algorithms.tiles import Filtered

BoolArray = NDArray[np.bool_]

_CELL_PIX = 64
_MIN_PIXELS = 50
_ROWS = 64
_CLIP_SIGMA = 4.0


def subtract_background(
    filtered: Filtered, blank: BoolArray, *, order: int
) -> tuple[Filtered, float]:
    """Subtract a low-order polynomial fitted to the medians of blank sky, in place.

    A smooth level passes the whitening and the unit-sum matched filter unchanged, so the same
    level is taken from difference and signal.

    Parameters
    ----------
    filtered : Filtered
        Difference and signal.
    blank : NDArray[bool], shape (ny, nx)
        Blank sky.
    order : int
        Highest order; lower where few cells of the frame have enough blank sky.

    Returns
    -------
    tuple
        The planes, changed, and the rms of the level over the frame [science units].
    """
    x, y, level = _cell_medians(filtered, blank)
    while order > 0 and len(level) < 3 * (order + 1) * (order + 2) // 2:
        order -= 1
    if len(level) == 0:
        return filtered, 0.0
    shape = filtered.difference.shape
    solution = _fit_clipped(position_terms(x, y, shape=(shape[0], shape[1]), order=order), level)
    squares = 0.0
    for first in range(0, shape[0], _ROWS):
        rows = slice(first, min(first + _ROWS, shape[0]))
        surface = _surface(solution, order, rows, shape=(shape[0], shape[1]))
        filtered.difference[rows] -= surface
        filtered.difference[rows][filtered.bad[rows]] = 0.0
        filtered.signal[rows] -= surface
        squares += float(np.square(surface).sum(dtype=np.float64))
    rms = float(np.sqrt(squares / filtered.difference.size))
    return filtered, rms


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


def _cell_medians(
    filtered: Filtered, blank: BoolArray
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centres and medians of the cells with enough blank sky."""
    ny, nx = blank.shape
    found = []
    for top in range(0, ny, _CELL_PIX):
        # every other row: the median of 2000 pixels is good to 0.03 of their width
        rows, bottom = slice(top, top + _CELL_PIX, 2), min(top + _CELL_PIX, ny)
        band = np.where(blank[rows], filtered.difference[rows], np.float32(np.inf))
        count = np.add.reduceat(blank[rows].sum(axis=0), np.arange(0, nx, _CELL_PIX))
        for number, left in enumerate(range(0, nx, _CELL_PIX)):
            n = int(count[number])
            if n >= _MIN_PIXELS:
                # what is not blank goes to the end
                values = np.sort(band[:, left : left + _CELL_PIX], axis=None)
                right = min(left + _CELL_PIX, nx)
                middle = ((left + right - 1) / 2, (top + bottom - 1) / 2)
                found.append((*middle, 0.5 * float(values[(n - 1) // 2] + values[n // 2])))
    table = np.array(found, dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


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
