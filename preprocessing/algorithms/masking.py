"""Saturated pixels, the charge they bleed, and pixels without data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskArray, MaskPlane, is_bad

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

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
    saturated = (image.data >= _LINEAR_FRACTION * level) & ((mask & MaskPlane.NO_DATA) == 0)
    if not saturated.any():
        return mask
    mask[saturated] |= np.uint16(MaskPlane.SATURATED)
    spilled = _grow_square(saturated, grow)
    spilled |= _grow_trails(image.data, saturated)
    mask[spilled & ~saturated] |= np.uint16(MaskPlane.BLEED)
    return mask


def _grow_square(flags: BoolArray, reach: int) -> BoolArray:
    """Flags grown by ``reach`` pixels in every direction; quick where few are set."""
    rows, columns = np.nonzero(flags)
    ny, nx = flags.shape
    grown = flags.copy()
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            grown[np.clip(rows + dy, 0, ny - 1), np.clip(columns + dx, 0, nx - 1)] = True
    return grown


def _grow_trails(data: FloatArray, saturated: BoolArray) -> BoolArray:
    """Extend long, thin saturated runs along their own direction to where the trail ends."""
    grown = np.zeros_like(saturated)
    labels, _ = ndimage.label(saturated, structure=np.ones((3, 3)))
    for window in ndimage.find_objects(labels):
        height, width = (edge.stop - edge.start for edge in window)
        if max(height, width) < 6:
            continue
        along_y = height >= width
        reach = max(8, max(height, width) // 4)
        _extend(data, saturated, grown, window=window, reach=reach, along_y=along_y)
    return grown


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
