"""Small images cut out around a position."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def cut_out(
    data: NDArray[np.generic],
    x: float,
    y: float,
    *,
    size: int,
    bad: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Cut a square around a position.

    Parameters
    ----------
    data : NDArray, shape (ny, nx)
        Any plane.
    x, y : float
        Position [pix], 0-based; the cutout is centred on the nearest pixel.
    size : int
        Width of the cutout; odd, so that there is a middle pixel.
    bad : NDArray[bool], shape (ny, nx), optional
        Pixels that are not to be shown.

    Returns
    -------
    NDArray[float32], shape (size, size)
        NaN outside the frame and on bad pixels.

    Raises
    ------
    ValueError
        If the size is not odd and positive, or the position is not finite.
    """
    if size < 1 or size % 2 == 0:
        msg = f"size: must be odd and positive, got {size}"
        raise ValueError(msg)
    if not (math.isfinite(x) and math.isfinite(y)):
        msg = f"x, y: must be finite, got {x}, {y}"
        raise ValueError(msg)
    ny, nx = data.shape
    left, bottom = round(x) - size // 2, round(y) - size // 2
    rows = slice(max(bottom, 0), min(bottom + size, ny))
    columns = slice(max(left, 0), min(left + size, nx))
    cutout = np.full((size, size), np.nan, dtype=np.float32)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return cutout
    part = np.asarray(data[rows, columns], dtype=np.float32)
    if bad is not None:
        part = np.where(bad[rows, columns], np.float32(np.nan), part)
    cutout[rows.start - bottom : rows.stop - bottom, columns.start - left : columns.stop - left] = (
        part
    )
    return cutout
