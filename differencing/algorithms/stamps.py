"""Cutouts of clean stars, spread over the frame, from which the two images are matched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from differencing.algorithms.subtraction import Stars

Tensor = torch.Tensor
Indices = NDArray[np.int64]

#: A star fainter than this says less about the kernel than its noise costs.
_MIN_SNR = 20.0
#: Where there are fewer than this many, fainter ones are better than none.
_FEW_STARS = 20
_MIN_SNR_OF_FEW = 8.0
_CELL_PIX = 160
#: Smallest share of good pixels in a cutout.
_MIN_GOOD = 0.5
#: A star's core must be good and inside the frame.
_CORE_PIX = 5


@dataclass(frozen=True)
class StarPositions:
    """Integer pixels of the chosen stars; arrays of shape (n,)."""

    x: Indices
    y: Indices

    def __len__(self) -> int:
        return len(self.x)


def select_stars(
    stars: Stars,
    bad: NDArray[np.bool_],
    *,
    half_width: int,
    max_stars: int,
    edges: Literal["keep", "cut"] = "keep",
) -> StarPositions:
    """Choose the brightest usable stars of each cell of the frame.

    Clean stars come first; other sources fill up cells that have none, because a kernel can be
    measured on any source that does not vary.

    Parameters
    ----------
    stars : Stars
        Sources of the science image.
    bad : NDArray[bool], shape (ny, nx)
        Pixels unusable in either image.
    half_width : int
        Half width of the cutouts.
    max_stars : int
        Most stars to return.
    edges : {"keep", "cut"}
        Whether cutouts must keep inside the frame, or may be cut by its edge.
    """
    ny, nx = bad.shape
    x = np.rint(stars.x).astype(np.int64)
    y = np.rint(stars.y).astype(np.int64)
    snr = stars.flux / np.maximum(stars.flux_error, np.finfo(np.float64).tiny)
    margin = _CORE_PIX if edges == "cut" else half_width
    inside = (x >= margin) & (x < nx - margin) & (y >= margin) & (y < ny - margin)
    candidates = np.flatnonzero(inside & (snr > _MIN_SNR))
    if len(candidates) < _FEW_STARS:
        candidates = np.flatnonzero(inside & (snr > _MIN_SNR_OF_FEW))
    n_cells = _cells(ny), _cells(nx)
    per_cell = max(2, math.ceil(max_stars / 2 / (n_cells[0] * n_cells[1])))
    order = candidates[np.lexsort((-stars.flux[candidates], ~stars.is_star[candidates]))]
    taken: dict[tuple[int, int], int] = {}
    chosen: list[int] = []
    for index in order:
        cell = (int(y[index]) * n_cells[0] // ny, int(x[index]) * n_cells[1] // nx)
        if taken.get(cell, 0) >= per_cell or len(chosen) >= max_stars:
            continue
        if _is_usable(bad, int(x[index]), int(y[index]), half_width=half_width):
            taken[cell] = taken.get(cell, 0) + 1
            chosen.append(int(index))
    return StarPositions(x=x[chosen], y=y[chosen])


def _cells(length: int) -> int:
    return int(np.clip(round(length / _CELL_PIX), 1, 14))


def _is_usable(bad: NDArray[np.bool_], x: int, y: int, *, half_width: int) -> bool:
    """True if the core is clean and most of the cutout is good."""
    if bad[y - 3 : y + 4, x - 3 : x + 4].any():
        return False
    rows = slice(max(0, y - half_width), y + half_width + 1)
    columns = slice(max(0, x - half_width), x + half_width + 1)
    n_good = int((~bad[rows, columns]).sum())
    return n_good >= _MIN_GOOD * (2 * half_width + 1) ** 2


def cut_stamps(
    plane: Tensor, positions: StarPositions, *, half_width: int, outside: float
) -> Tensor:
    """Cutouts of shape (n, 2 half_width + 1, 2 half_width + 1) around stars, float32.

    Pixels off the frame hold ``outside``.
    """
    ny, nx = plane.shape
    offset = torch.arange(-half_width, half_width + 1, device=plane.device)
    row = (torch.from_numpy(positions.y).to(plane.device)[:, None] + offset)[:, :, None]
    column = (torch.from_numpy(positions.x).to(plane.device)[:, None] + offset)[:, None, :]
    inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
    pixels = plane[row.clamp(0, ny - 1), column.clamp(0, nx - 1)].float()
    return torch.where(inside, pixels, outside)
