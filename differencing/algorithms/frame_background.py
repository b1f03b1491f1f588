"""The smooth difference of the two backgrounds that is left over the frame."""

from __future__ import annotations

from dataclasses import replace

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
    """Subtract a low-order polynomial fitted to the medians of blank sky.

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
        Filtered planes without the level, and its rms over the frame [science units].
    """
    x, y, level = _cell_medians(filtered, blank)
    while order > 0 and len(level) < 3 * (order + 1) * (order + 2) // 2:
        order -= 1
    if len(level) == 0:
        return filtered, 0.0
    shape = filtered.difference.shape
    solution = _fit_clipped(position_terms(x, y, shape=(shape[0], shape[1]), order=order), level)
    difference, signal = np.empty_like(filtered.difference), np.empty_like(filtered.signal)
    squares = 0.0
    for first in range(0, shape[0], _ROWS):
        rows = slice(first, min(first + _ROWS, shape[0]))
        surface = _surface(solution, order, rows, shape=(shape[0], shape[1]))
        np.subtract(filtered.difference[rows], surface, out=difference[rows])
        difference[rows][filtered.bad[rows]] = 0.0
        np.subtract(filtered.signal[rows], surface, out=signal[rows])
        squares += float(np.square(surface).sum(dtype=np.float64))
    rms = float(np.sqrt(squares / filtered.difference.size))
    return replace(filtered, difference=difference, signal=signal), rms


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
        for left in range(0, nx, _CELL_PIX):
            # every other row: the median of 2000 pixels is good to 0.03 of their width
            bottom, right = min(top + _CELL_PIX, ny), min(left + _CELL_PIX, nx)
            box = (slice(top, bottom, 2), slice(left, right))
            values = filtered.difference[box][blank[box]]
            if len(values) >= _MIN_PIXELS:
                middle = ((left + right - 1) / 2, (top + bottom - 1) / 2)
                found.append((*middle, float(np.median(values))))
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
