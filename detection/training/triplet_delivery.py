"""How surveys hand over cutouts: padded, cut short, clipped, in other units, without a template."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

FloatArray = NDArray[np.float32]
Change = Callable[[FloatArray, np.random.Generator], FloatArray]

SIZE = 63


def deliver(planes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """One triplet (63, 63, 3) as some survey might deliver it.

    Each change happens with its own probability, independent of what the triplet shows, so that
    none of them tells real from bogus.
    """
    planes = np.array(planes, dtype=np.float32)
    for probability, change in _CHANGES:
        if rng.random() < probability:
            planes = change(planes, rng)
    return planes


def _other_unit(planes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The template in a unit of its own."""
    planes[..., 1] *= np.float32(np.exp(rng.normal(0.0, 0.9)))
    return planes


def _enlarged(planes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A smaller cutout brought to size by interpolation: wide PSF, smooth noise."""
    inner = int(rng.choice([21, 31, 41, 51]))
    edge = (SIZE - inner) // 2
    part = planes[edge : edge + inner, edge : edge + inner]
    return np.stack(
        [
            zoom(np.nan_to_num(part[..., i]), SIZE / inner, order=1)[:SIZE, :SIZE]
            for i in range(planes.shape[2])
        ],
        axis=-1,
    ).astype(np.float32)


def _cut_short(planes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The frame ends beside the source; sometimes only one of the two frames."""
    rest = int(rng.integers(3, 26))
    side = int(rng.integers(4))
    gap = np.zeros((SIZE, SIZE), dtype=bool)
    gap[: SIZE // 2 - rest] = True
    gap = np.rot90(gap, side)
    value = np.float32(rng.choice([np.nan, 0.0]))
    which = [0, 1, 2] if rng.random() < 0.7 else [int(rng.integers(2)), 2]
    for i in which:
        planes[..., i] = np.where(gap, value, planes[..., i])
    return planes


def _framed(planes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A smaller cutout in the middle of nothing."""
    border = (SIZE - int(rng.choice([21, 31, 41, 45, 51, 61]))) // 2
    value = np.float32(rng.choice([np.nan, 0.0]))
    framed = np.full_like(planes, value)
    framed[border : SIZE - border, border : SIZE - border] = planes[
        border : SIZE - border, border : SIZE - border
    ]
    return framed


def _clipped(planes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Limited to percentiles, as for display."""
    low, high = np.nanpercentile(planes, [1.0, float(rng.choice([99.0, 99.5, 99.9]))], axis=(0, 1))
    return np.clip(planes, low, high).astype(np.float32)


def _rounded(planes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Eight bits between the limits."""
    low, high = np.nanmin(planes, axis=(0, 1)), np.nanmax(planes, axis=(0, 1))
    step = np.maximum(high - low, 1e-6) / 255.0
    # only where the noise survives it: a bright star would leave a black sky
    return np.where(step < 0.7, np.round((planes - low) / step), planes).astype(np.float32)


def _without_template(planes: FloatArray, rng: np.random.Generator) -> FloatArray:
    planes[..., 1] = np.float32(rng.choice([np.nan, 0.0]))
    return planes


def _with_holes(planes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Single pixels are missing, anywhere."""
    count = int(rng.integers(1, 30))
    rows, columns = rng.integers(0, SIZE, (2, count))
    planes[rows, columns, int(rng.integers(3))] = np.nan
    return planes


_CHANGES: tuple[tuple[float, Change], ...] = (
    (0.06, _enlarged),
    (0.06, _clipped),
    (0.03, _rounded),
    (0.35, _other_unit),
    (0.05, _with_holes),
    (0.10, _cut_short),
    (0.08, _framed),
    (0.04, _without_template),
)
