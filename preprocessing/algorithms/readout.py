"""What the read-out of a detector adds: the overscan's pedestal, and crosstalk of amplifiers."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

_SECTION = re.compile(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]")
_CLIP_SIGMA = 4.0
_WIDTH_CLIP = 5.0
_START_SAMPLES = 512


@dataclass(frozen=True)
class Section:
    """A rectangle of pixels: columns x0 to x1 and rows y0 to y1, 0-based, ends excluded."""

    x0: int
    x1: int
    y0: int
    y1: int

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def window(self) -> tuple[slice, slice]:
        """The rectangle as an index of an array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


def parse_section(text: str, *, shape: tuple[int, int]) -> Section | None:
    """Rectangle of an IRAF section such as ``[1:2048,1:4096]``.

    Parameters
    ----------
    text : str
        Section as headers write it: 1-based, ends included, columns first.
    shape : tuple of int
        (ny, nx) of the frame.

    Returns
    -------
    Section or None
        None where the text is no section, or one that does not lie in the frame: headers of
        cutouts keep the sections of the whole detector.
    """
    found = _SECTION.fullmatch(text.strip())
    if found is None:
        return None
    x_first, x_last, y_first, y_last = (int(word) for word in found.groups())
    section = Section(x_first - 1, x_last, y_first - 1, y_last)
    ny, nx = shape
    fits = 0 <= section.x0 < section.x1 <= nx and 0 <= section.y0 < section.y1 <= ny
    return section if fits else None


@dataclass(frozen=True)
class Crosstalk:
    """How much each part of a frame shows of the others.

    Attributes
    ----------
    sections : tuple of Section
        The amplifiers' parts of the frame; all of one shape.
    flips : tuple of (bool, bool)
        For each part, whether its columns and rows are read in reversed order.
    coefficients : NDArray[float64], shape (n, n)
        Row i, column j: share of the signal of part j that appears in part i.
    """

    sections: tuple[Section, ...]
    flips: tuple[tuple[bool, bool], ...]
    coefficients: Float64

    def __post_init__(self) -> None:
        n = len(self.sections)
        if len(self.flips) != n or self.coefficients.shape != (n, n):
            msg = f"coefficients: {n} sections need {n} flips and {n} x {n} coefficients"
            raise ValueError(msg)
        if len({section.shape for section in self.sections}) > 1:
            msg = "sections: the parts of a crosstalk table must have one shape"
            raise ValueError(msg)


def correct_crosstalk(data: FloatArray, table: Crosstalk) -> FloatArray:
    """Take from each amplifier's part what it shows of the others.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Frame without its pedestal.
    table : Crosstalk
        Shares measured for this camera.

    Returns
    -------
    NDArray[float32], shape (ny, nx)

    Raises
    ------
    ValueError
        If a part of the table does not lie in the frame.

    Notes
    -----
    First order in the coefficients, as in [1]_: what is subtracted is the recorded signal of the
    other part; the error is their square, below 1e-6 of a star for crosstalk of 0.1 %.

    References
    ----------
    .. [1] Freyhammer et al. 2001, Experimental Astronomy 12, 147, section 4.
    """
    ny, nx = data.shape
    parts = []
    for section, (flip_x, flip_y) in zip(table.sections, table.flips, strict=True):
        if section.x1 > nx or section.y1 > ny:
            msg = f"sections: {section} does not lie in a frame of {nx} x {ny} pixels"
            raise ValueError(msg)
        part = data[section.window]
        parts.append(part[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
    corrected = data.copy()
    for i, section in enumerate(table.sections):
        ghost = np.zeros(section.shape, dtype=np.float32)
        for j, part in enumerate(parts):
            if i != j and table.coefficients[i, j]:
                ghost += np.float32(table.coefficients[i, j]) * part
        flip_x, flip_y = table.flips[i]
        corrected[section.window] -= ghost[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return corrected


def clipped_mean(values: FloatArray, *, axis: int) -> Float64:
    """Mean along an axis without what lies 4 sigma off, sigma taken from the quartiles."""
    low, middle, high = np.percentile(values, [25.0, 50.0, 75.0], axis=axis, keepdims=True)
    # whole numbers of a quiet camera can have quartiles that are equal
    width = _CLIP_SIGMA * np.maximum((high - low) / 1.349, 0.5)
    kept = np.abs(values - middle) <= width
    total = np.where(kept, values, 0.0).sum(axis=axis, dtype=np.float64)
    return np.asarray(total / np.maximum(kept.sum(axis=axis), 1))


def overscan_level(data: FloatArray, section: Section, *, reach: int = 12) -> Float64:
    """Pedestal of every row (or column) beside an overscan strip.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Raw frame.
    section : Section
        The strip: columns beside the image, or rows above or below it.
    reach : int
        Rows (columns) averaged on either side: the pedestal drifts slowly, its noise does not.

    Returns
    -------
    NDArray[float64], shape (ny, 1) or (1, nx)
        Level to subtract; beyond the ends of the strip its end values.
    """
    ny, nx = data.shape
    is_upright = section.shape[0] >= section.shape[1]
    strip = data[section.window]
    level = clipped_mean(strip, axis=1 if is_upright else 0)
    smooth = _running_mean(level, reach=reach)
    start, length = (section.y0, ny) if is_upright else (section.x0, nx)
    places = np.clip(np.arange(length) - start, 0, len(smooth) - 1)
    profile = smooth[places]
    return profile[:, None] if is_upright else profile[None, :]


def _running_mean(values: Float64, *, reach: int) -> Float64:
    """Mean over a window that is cut at the ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    n = len(values)
    first = np.maximum(np.arange(n) - reach, 0)
    last = np.minimum(np.arange(n) + reach + 1, n)
    return np.asarray((total[last] - total[first]) / (last - first))


def clipped_width(values: FloatArray, *, rounds: int = 3) -> Float64:
    """Standard deviation of each row of ``values`` without its outliers; NaN is no sample.

    Parameters
    ----------
    values : NDArray[float32], shape (m, n)
        Samples.
    rounds : int
        Times the width is measured again after what lies 5 of them off is dropped.

    Returns
    -------
    NDArray[float64], shape (m,)
        0 for rows with fewer than 2 samples.

    Notes
    -----
    The median deviation only starts the clipping: whole numbers of a quiet camera quantise it.
    """
    known = np.isfinite(values)
    plain = np.where(known, values, np.float32(0))
    few = values[:, :: max(values.shape[1] // _START_SAMPLES, 1)]
    centre = sorted_median(few, axis=1)[:, None]
    width = np.maximum(1.4826 * sorted_median(np.abs(few - centre), axis=1)[:, None], 0.6)
    width = np.where(np.isfinite(width), width, np.inf)
    centre = np.where(np.isfinite(centre), centre, 0.0)
    for _ in range(rounds):
        kept = known & (np.abs(plain - centre) <= _WIDTH_CLIP * width)
        count = kept.sum(axis=1, keepdims=True)
        centre = np.where(kept, plain, 0.0).sum(axis=1, keepdims=True) / np.maximum(count, 1)
        square = np.where(kept, (plain - centre) ** 2, 0.0).sum(axis=1, keepdims=True)
        width = np.sqrt(square / np.maximum(count - 1, 1))
    return np.asarray(width[:, 0], dtype=np.float64)


def sorted_median(values: NDArray[np.floating], *, axis: int) -> Float64:
    """Median along an axis, NaN left out; NaN where nothing is known (and no warning)."""
    ordered = np.sort(values, axis=axis)  # NaN goes to the end
    count = np.isfinite(ordered).sum(axis=axis, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0), axis)
    high = np.take_along_axis(ordered, np.minimum(count // 2, ordered.shape[axis] - 1), axis)
    middle = np.where(count > 0, 0.5 * (low + high), np.nan)
    return np.asarray(np.squeeze(middle, axis=axis), dtype=np.float64)
