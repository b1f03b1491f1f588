"""Saturated pixels, the charge they bleed, and pixels without data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskArray, MaskPlane, is_bad
from preprocessing.algorithms.row_strips import positions_where

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Index = NDArray[np.intp]

# detectors leave the linear regime a little before the nominal level
_LINEAR_FRACTION = 0.97
_PLATEAU_TOLERANCE = 0.01
_PLATEAU_PIXELS = 6


def estimate_saturation(data: FloatArray, mask: MaskArray) -> float | None:
    """Level at which the brightest pixels form a plateau, or None where they do not.

    A star's core falls by more than 1 % from one pixel to the next; clipped cores and bleed
    trails are flat. A plateau is ``_PLATEAU_PIXELS`` connected pixels within 1 % of the maximum.
    """
    good = ~is_bad(mask)
    if not good.any():
        return None
    top = float(data[good].max())
    if top <= 0:
        return None
    level = top * (1.0 - _PLATEAU_TOLERANCE)
    labels, count = ndimage.label(good & (data >= level), structure=np.ones((3, 3)))
    # a frame that is mostly its own maximum is constant, not saturated
    if count == 0 or (labels > 0).sum() > 0.1 * good.sum():
        return None
    if np.bincount(labels[labels > 0]).max() < _PLATEAU_PIXELS:
        return None
    return level


def mask_saturation(image: Image, *, grow: int = 2) -> MaskArray:
    """Flag saturated pixels, grown, and the trails into which they bleed.

    Parameters
    ----------
    image : Image
        Frame before background subtraction; ``saturation`` is used where known, otherwise a
        plateau of equal brightest pixels tells the level.
    grow : int
        Pixels added around saturated ones, because blooming spills into neighbours.

    Returns
    -------
    NDArray[uint16], shape (ny, nx)
        The frame's mask with ``SATURATED`` and ``BLEED`` added.
    """
    level = image.saturation
    if level is None or not np.isfinite(level) or level <= 0:
        level = estimate_saturation(image.data, image.mask)
    mask = image.mask.copy()
    if level is None:
        return mask
    least = _LINEAR_FRACTION * level
    at = positions_where(
        image.shape,
        lambda rows: (image.data[rows] >= least) & ~is_bad(mask[rows], MaskPlane.NO_DATA),
    )
    if at.size == 0:
        return mask
    mask.ravel()[at] |= np.uint16(MaskPlane.SATURATED)
    saturated = np.zeros(image.shape, dtype=np.bool_)
    saturated.ravel()[at] = True
    spilled = _grown_square(at, image.shape, reach=grow)
    spilled = np.concatenate([spilled, _grown_trails(image.data, saturated, at=at)])
    spilled = spilled[~saturated.ravel()[spilled]]
    mask.ravel()[spilled] |= np.uint16(MaskPlane.BLEED)
    return mask


def _grown_square(at: Index, shape: tuple[int, int], *, reach: int) -> Index:
    """Flat positions up to ``reach`` pixels from those given, in every direction."""
    (rows, columns), (ny, nx) = np.divmod(at, shape[1]), shape
    step = np.arange(-reach, reach + 1)
    near_rows = np.clip(rows[:, None, None] + step[:, None], 0, ny - 1)
    near_columns = np.clip(columns[:, None, None] + step, 0, nx - 1)
    return np.asarray(np.unique(near_rows * nx + near_columns), dtype=np.intp)


def _grown_trails(data: FloatArray, saturated: BoolArray, *, at: Index) -> Index:
    """Flat positions of long, thin saturated runs extended along themselves to the trail's end."""
    grown = np.zeros_like(saturated)
    for window in _touching(at, saturated.shape[1]):
        height, width = (edge.stop - edge.start for edge in window)
        if max(height, width) < 6:
            continue
        along_y = height >= width
        reach = max(8, max(height, width) // 4)
        _extend(data, saturated, grown, window=window, reach=reach, along_y=along_y)
    return np.flatnonzero(grown)


def _touching(at: Index, nx: int) -> Iterator[tuple[slice, slice]]:
    """Boxes of the groups of rising flat positions that touch, corners included."""
    rows, columns = np.divmod(at, nx)
    first: list[Index] = []
    second: list[Index] = []
    for step_y, step_x in ((0, 1), (1, -1), (1, 0), (1, 1)):
        beside = at + step_y * nx + step_x
        index = np.minimum(np.searchsorted(at, beside), at.size - 1)
        is_there = (at[index] == beside) & (columns + step_x >= 0) & (columns + step_x < nx)
        first.append(np.flatnonzero(is_there))
        second.append(index[is_there])
    edges = (np.concatenate(first), np.concatenate(second))
    graph = sparse.coo_array((np.ones(len(edges[0])), edges), shape=(at.size, at.size))
    count, label = csgraph.connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    starts = np.searchsorted(label[order], np.arange(count))
    tops, bottoms, lefts, rights = (
        extreme.reduceat(place[order], starts).tolist()
        for place in (rows, columns)
        for extreme in (np.minimum, np.maximum)
    )
    for top, bottom, left, right in zip(tops, bottoms, lefts, rights, strict=True):
        yield slice(top, bottom + 1), slice(left, right + 1)


def _extend(
    data: FloatArray,
    saturated: BoolArray,
    grown: BoolArray,
    *,
    window: tuple[slice, slice],
    reach: int,
    along_y: bool,
) -> None:
    """Flag the columns (rows) of one saturated object up to ``reach`` pixels beyond its ends."""
    rows, columns = window
    ny, nx = data.shape
    if along_y:
        longer = slice(max(rows.start - reach, 0), min(rows.stop + reach, ny))
        core = saturated[window].sum(axis=0) >= 3
        for column in np.flatnonzero(core) + columns.start:
            grown[longer, max(column - 1, 0) : column + 2] = True
    else:
        longer = slice(max(columns.start - reach, 0), min(columns.stop + reach, nx))
        core = saturated[window].sum(axis=1) >= 3
        for row in np.flatnonzero(core) + rows.start:
            grown[max(row - 1, 0) : row + 2, longer] = True
