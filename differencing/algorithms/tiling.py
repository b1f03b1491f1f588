"""Cutting frames into square tiles that overlap, and putting them together again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Tensor = torch.Tensor

_BATCH_PIXELS = 4 * 512 * 512


@dataclass(frozen=True)
class Tiling:
    """Square tiles of ``size`` pixels whose cores of ``size - 2 margin`` pixels cover a frame."""

    shape: tuple[int, int]
    size: int
    margin: int

    @property
    def core(self) -> int:
        """Side of the part of a tile that the margin protects from wrap-around."""
        return self.size - 2 * self.margin

    @property
    def corners(self) -> list[tuple[int, int]]:
        """(row, column) of every core's first pixel."""
        ny, nx = self.shape
        return [(y, x) for y in range(0, ny, self.core) for x in range(0, nx, self.core)]

    def batches(self) -> Iterator[list[tuple[int, int]]]:
        """Corners in groups that bound the memory in use."""
        n = max(1, _BATCH_PIXELS // self.size**2)
        corners = self.corners
        for start in range(0, len(corners), n):
            yield corners[start : start + n]

    def centres(
        self, corners: list[tuple[int, int]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(x, y) of the cores' centres, kept inside the frame."""
        ny, nx = self.shape
        half = (self.core - 1) / 2.0
        x = np.array([(c + min(c + 2 * half, nx - 1)) / 2 for _, c in corners])
        y = np.array([(r + min(r + 2 * half, ny - 1)) / 2 for r, _ in corners])
        return x, y

    def gather(
        self, plane: NDArray[np.generic], corners: list[tuple[int, int]], *, step: int = 1
    ) -> NDArray[np.float32]:
        """Tiles of a plane, float32, mirrored beyond the frame's edges; every ``step``-th pixel."""
        ny, nx = self.shape
        offset = np.arange(0, self.size, step) - self.margin
        tiles = np.empty((len(corners), len(offset), len(offset)), dtype=np.float32)
        for k, (y, x) in enumerate(corners):
            top, left = y - self.margin, x - self.margin
            if min(top, left) >= 0 and top + self.size <= ny and left + self.size <= nx:
                # no mirror: a block is copied many times as fast as it is gathered
                tiles[k] = plane[top : top + self.size : step, left : left + self.size : step]
                continue
            rows, columns = _mirror(y + offset, ny), _mirror(x + offset, nx)
            # row by row and then columns: a third of the time of both indices at once
            seen = plane[:, columns.min() : columns.max() + 1].take(rows, axis=0)
            tiles[k] = seen.take(columns - columns.min(), axis=1)
        return tiles

    def scatter(
        self,
        plane: NDArray[np.generic],
        tiles: Tensor,
        corners: list[tuple[int, int]],
        *,
        add: bool = False,
    ) -> None:
        """Write the cores of tiles into a plane; with ``add``, flags to those it has."""
        ny, nx = self.shape
        values = tiles.cpu().numpy()
        for k, (y, x) in enumerate(corners):
            height, width = min(self.core, ny - y), min(self.core, nx - x)
            inner = values[k, self.margin : self.margin + height, self.margin : self.margin + width]
            core = plane[y : y + height, x : x + width]
            core[:] = core | inner if add else inner


def _mirror(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Indices folded back into [0, n)."""
    folded = np.mod(index, 2 * n)
    return np.where(folded < n, folded, 2 * n - 1 - folded)


def plan_tiles(shape: tuple[int, int], *, margin: int, largest: int) -> Tiling:
    """The tile size, a power of two up to ``largest``, that transforms the fewest pixels."""
    sizes = [n for n in (64, 128, 256, 512, 1024) if 3 * margin <= n <= largest] or [1024]
    ny, nx = shape
    costs = {n: -(-ny // (n - 2 * margin)) * -(-nx // (n - 2 * margin)) * n * n for n in sizes}
    return Tiling(shape=shape, size=min(sizes, key=lambda n: costs[n]), margin=margin)


def tile_coordinates(
    tiling: Tiling, corners: list[tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scaled coordinates (u, v) of the columns and rows of tiles, each (n_tiles, size).

    Mirrored pixels keep the coordinate of the pixel they copy.
    """
    ny, nx = tiling.shape
    offset = np.arange(tiling.size) - tiling.margin
    columns = np.stack([_mirror(x + offset, nx) for _, x in corners])
    rows = np.stack([_mirror(y + offset, ny) for y, _ in corners])
    return 2.0 * columns / max(nx - 1, 1) - 1.0, 2.0 * rows / max(ny - 1, 1) - 1.0
