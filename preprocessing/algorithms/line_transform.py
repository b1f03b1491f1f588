"""Sums along all straight lines of an image: the fast discrete Radon transform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class LineSums:
    """Sums along the lines that cross sections of some rows, for four ranges of direction.

    Attributes
    ----------
    sums : NDArray[float32], shape (4, n_sections, length, width)
        Indexed by direction (steep or flat, leaning right or left), section, shift of the line
        between the section's ends, and column of its start.
    length : int
        Rows of a section; each sum has so many terms.
    side : int
        Width of the square image that was transformed, and of the margin left of it.
    """

    sums: FloatArray
    length: int
    side: int

    def ends(self, flat: NDArray[np.intp]) -> Float64:
        """End points (x0, y0, x1, y1) in pixels of the image, of flat indices into ``sums``."""
        direction, section, shift, column = np.unravel_index(flat, self.sums.shape)
        x0 = (column - self.side).astype(np.float64)
        y0 = (section * self.length).astype(np.float64)
        x1, y1 = x0 + shift, y0 + self.length - 1
        is_mirrored, is_flat = direction % 2 == 1, direction >= 2
        x0, x1 = (np.where(is_mirrored, self.side - 1 - x, x) for x in (x0, x1))
        upright, turned = np.stack([x0, y0, x1, y1], -1), np.stack([y0, x0, y1, x1], -1)
        return np.where(is_flat[:, None], turned, upright)


def sum_along_lines(image: FloatArray, *, shortest: int) -> Iterator[LineSums]:
    """Sums along the lines of an image, section by section, from short sections to the whole.

    Parameters
    ----------
    image : NDArray[float32], shape (side, side)
        ``side`` a power of two.
    shortest : int
        Sections of at least so many rows (columns, for flat lines) are given back.

    Yields
    ------
    LineSums
        With sections of ``shortest`` rows, twice as many, and so on to ``side``.

    Notes
    -----
    Two neighbouring sections give the sums of the section they make together, so that all lines
    cost ``side^2 log(side)`` additions.

    References
    ----------
    .. [1] Brady 1998, SIAM J. Comput. 27, 107 (the transform); Nir, Zackay & Ofek 2018, AJ 156,
       229 (its sections find streaks shorter than the image).
    """
    side = image.shape[0]
    views = (image, image[:, ::-1], image.T, image.T[:, ::-1])
    sums = np.zeros((4, side, 1, 2 * side), dtype=np.float32)
    for number, view in enumerate(views):
        sums[number, :, 0, side:] = view
    length = 1
    while length < side:
        sums = _join(sums)
        length *= 2
        if length >= shortest:
            yield LineSums(sums, length, side)


def _join(sums: FloatArray) -> FloatArray:
    """Sums of sections twice as long: a line goes half its shift in each, the odd step between."""
    n, n_sections, length, width = sums.shape
    joined = np.empty((n, n_sections // 2, 2 * length, width), dtype=np.float32)
    upper, lower = sums[:, 0::2], sums[:, 1::2]
    for shift in range(2 * length):
        half, step = shift // 2, (shift + 1) // 2
        out = joined[:, :, shift]
        out[...] = upper[:, :, half]
        out[..., : width - step] += lower[:, :, half, step:]
    return joined
