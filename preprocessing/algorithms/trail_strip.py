"""A strip of pixels along a line, as medians that stars in it hardly change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import BoolArray

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Pixels along a line whose median is one sample of its cross profile.
SEGMENT = 24
#: Share of a segment that must be usable.
_LEAST_USABLE = 0.3


@dataclass(frozen=True)
class Line:
    """A piece of a straight line between two points [pix]."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def length(self) -> float:
        """Distance of the ends [pix]."""
        return float(np.hypot(self.x1 - self.x0, self.y1 - self.y0))

    @property
    def direction(self) -> tuple[float, float]:
        """Unit vector from the first end to the second."""
        length = max(self.length, 1e-9)
        return (self.x1 - self.x0) / length, (self.y1 - self.y0) / length

    def at(self, along: Float64, across: Float64) -> tuple[Float64, Float64]:
        """Pixel positions of points given along the line from its start, and left of it."""
        ux, uy = self.direction
        return self.x0 + along * ux - across * uy, self.y0 + along * uy + across * ux

    def part(self, start: float, end: float) -> Line:
        """The piece between two distances from the start."""
        zero = np.zeros(2)
        x, y = self.at(np.array([start, end]), zero)
        return Line(float(x[0]), float(y[0]), float(x[1]), float(y[1]))


@dataclass(frozen=True)
class Strip:
    """Medians of a strip along a line, in units of the sky noise.

    Attributes
    ----------
    rows : NDArray[float64], shape (n_segments, 2 reach + 1)
        Cross profile of each segment over its own sky; NaN where too little is usable.
    across : NDArray[float64], shape (2 reach + 1,)
        Distances from the axis [pix].
    """

    rows: Float64
    across: Float64


def across_frame(line: Line, shape: tuple[int, ...]) -> tuple[Line, float, float]:
    """The line from border to border, and where on it the given piece starts and ends."""
    ny, nx = shape
    ux, uy = line.direction
    low, high = -np.inf, np.inf
    for origin, step, size in ((line.x0, ux, nx), (line.y0, uy, ny)):
        if abs(step) < 1e-12:
            continue
        a, b = sorted(((-0.5 - origin) / step, (size - 0.5 - origin) / step))
        low, high = max(low, a), min(high, b)
    return line.part(low, high), -low, -low + line.length


def cut_strip(data: FloatArray, bad: BoolArray, line: Line, *, noise: float, reach: int) -> Strip:
    """Medians of the segments along a line, each over its own sky."""
    ny, nx = data.shape
    across = np.arange(-reach, reach + 1, dtype=np.float64)
    n_segments = max(1, round(line.length / SEGMENT))
    along = np.arange(n_segments * SEGMENT, dtype=np.float64) + 0.5
    x, y = line.at(along[:, None], across[None, :])
    columns, rows = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    usable = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    at = np.where(usable, rows * nx + columns, 0)
    usable &= ~bad.ravel()[at]
    values = np.where(usable, data.ravel()[at] / np.float32(noise), np.float32(np.nan))
    stack = values.reshape(n_segments, SEGMENT, len(across)).transpose(0, 2, 1)
    medians = _medians(stack)
    wing = np.abs(across) > 0.5 * reach
    with_sky = np.isfinite(medians[:, wing]).sum(axis=1) >= 0.5 * wing.sum()
    sky = np.zeros(n_segments)
    sky[with_sky] = np.nanmedian(medians[with_sky][:, wing], axis=1)
    medians[~with_sky] = np.nan
    return Strip(medians - sky[:, None], across)


def _medians(stack: FloatArray) -> Float64:
    """Medians along the last axis, NaN where under 30 % of it is known."""
    ordered = np.sort(stack, axis=-1)
    count = np.isfinite(stack).sum(axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count // 2, 0)
    high = np.minimum(high, stack.shape[-1] - 1)
    middle = np.take_along_axis(ordered, low[..., None], -1)[..., 0]
    middle = 0.5 * (middle + np.take_along_axis(ordered, high[..., None], -1)[..., 0])
    known = count >= _LEAST_USABLE * stack.shape[-1]
    return np.where(known, middle, np.nan).astype(np.float64)


def mean_profile(rows: Float64) -> Float64 | None:
    """Median profile of some segments; None where a third of it is not known."""
    known = np.isfinite(rows).sum(axis=0)
    if len(rows) == 0 or (known == 0).mean() > 1.0 / 3.0:
        return None
    filled = np.where(known == 0, 0.0, rows)
    return np.asarray(np.nanmedian(filled, axis=0), dtype=np.float64)
