"""Frames worked through a few rows at a time, so that what lies between stays in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import BoolArray

_PIXELS = 1 << 17


def row_strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of a frame of ``shape`` (ny, nx), half a megabyte of float32 at a time."""
    height = max(1, _PIXELS // shape[1])
    for first in range(0, shape[0], height):
        yield slice(first, min(first + height, shape[0]))


def positions_where(
    shape: tuple[int, ...], is_wanted: Callable[[slice], BoolArray]
) -> NDArray[np.intp]:
    """Flat positions of the pixels that a test of some rows picks, rising."""
    found = [np.flatnonzero(is_wanted(rows)) + rows.start * shape[1] for rows in row_strips(shape)]
    return np.concatenate(found)
