"""Cutouts that show the same noise: one picture twice, whatever its unit, sign or shift."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from detection.networks.real_bogus_input import SIZE, normalise

Values = NDArray[np.float64]

#: Blocks of pixels whose means are compared first.
_BLOCK = 7
#: The candidate in the middle is left out: two stars look alike, their surroundings do not.
_CENTRE = 7
#: Least correlation of block means in both planes for a closer look. Of unlike pictures 72 means
#: correlate by chance to 0.12; a shift by one pixel leaves 0.7 of the same picture.
_COARSE = 0.6
#: Least correlation of the difference, pixel by pixel at the best shift. Of unlike noise the
#: 3,744 pixels correlate by chance to 0.016.
_FINE = 0.8
_MAX_SHIFT = 2
_ROWS = 1024


def near_duplicates(triplets: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs of rows that are the same picture.

    Parameters
    ----------
    triplets : NDArray[float32], shape (n, 63, 63, 3)
        Science, template, difference; any units.

    Returns
    -------
    list of (int, int)
        The lesser row first, in order. Found whatever the unit, the background and the sign of
        the difference, and shifted by up to two pixels each way. Pictures that share the sky but
        not the noise are not meant: those the sky cell keeps together.
    """
    if len(triplets) < 2:
        return []
    science, difference = (_coarse(triplets, plane) for plane in (0, 2))
    found = []
    for first in range(0, len(triplets), _ROWS):
        rows = slice(first, first + _ROWS)
        alike = np.abs(difference[rows] @ difference.T) > _COARSE
        alike &= science[rows] @ science.T > _COARSE
        found += [(first + int(i), int(j)) for i, j in np.argwhere(alike) if first + i < j]
    return [pair for pair in found if _is_same(triplets[list(pair), ..., 2])]


def _coarse(triplets: NDArray[np.float32], plane: int) -> Values:
    """Means of blocks around the middle (n, 72), without their own mean and of length 1."""
    blocks = np.empty((len(triplets), SIZE // _BLOCK, SIZE // _BLOCK))
    for first in range(0, len(triplets), _ROWS):
        part = normalise(torch.from_numpy(triplets[first : first + _ROWS]))[:, plane]
        pixels = part.nan_to_num(0.0).numpy().reshape(-1, 9, _BLOCK, 9, _BLOCK)
        blocks[first : first + _ROWS] = pixels.mean(axis=(2, 4))
    around = np.ones(blocks.shape[1:], dtype=bool)
    around[blocks.shape[1] // 2, blocks.shape[2] // 2] = False
    return _unit(blocks[:, around])


def _unit(rows: Values) -> Values:
    """Without their mean, of length 1; 0 where they have none."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))


def _is_same(pair: NDArray[np.float32]) -> bool:
    """Whether two differences (2, 63, 63) are one picture at some small shift."""
    shown = normalise(torch.from_numpy(np.stack([pair] * 3, axis=-1)))[:, 2]
    first, second = shown.nan_to_num(0.0).numpy().astype(np.float64)
    inner = slice(_MAX_SHIFT, SIZE - _MAX_SHIFT)
    around = np.ones((SIZE - 2 * _MAX_SHIFT,) * 2, dtype=bool)
    middle = len(around) // 2
    around[middle - _CENTRE : middle + _CENTRE + 1, middle - _CENTRE : middle + _CENTRE + 1] = False
    fixed = first[inner, inner][around]
    shifts = range(-_MAX_SHIFT, _MAX_SHIFT + 1)
    moved = np.stack(
        [
            np.roll(second, (dy, dx), axis=(0, 1))[inner, inner][around]
            for dy in shifts
            for dx in shifts
        ]
    )
    return bool(np.abs(_unit(moved) @ _unit(fixed[None])[0]).max() > _FINE)
