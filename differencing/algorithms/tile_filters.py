"""What a way of matching two images gives to each tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from differencing.algorithms.tiling import Tiling

Tensor = torch.Tensor


@dataclass(frozen=True)
class TileFilters:
    """Half spectra that turn a batch of tiles into differences.

    Attributes
    ----------
    science, template : Tensor or None
        Filters of the two images, shape (n_tiles or 1, n_terms, size, size // 2 + 1), one for
        each polynomial term by which the image is multiplied first; None is the identity.
    whiten : Tensor or None
        Filter (n_tiles, size, size // 2 + 1) of the difference that makes its noise white; None
        where science and template filters already do.
    psf : Tensor
        The difference's PSF, the whitening included, with unit sum.
    scale : Tensor or None
        Flux scale (n_tiles, size, size) by which the raw difference is divided.
    """

    science: Tensor | None
    template: Tensor | None
    whiten: Tensor | None
    psf: Tensor
    scale: Tensor | None = None


class Matching(Protocol):
    """A way to match two images: gives each tile its filters."""

    @property
    def terms_order(self) -> int:
        """Order of the polynomial terms in the filters."""

    @property
    def reach(self) -> int:
        """Half width of the filters and of the difference's PSF together [pix]."""

    @property
    def largest_tile(self) -> int:
        """Largest tile over which the filters may be taken as constant."""

    def filters(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        *,
        tiling: Tiling,
        corners: list[tuple[int, int]],
        noise: tuple[Tensor, Tensor],
    ) -> TileFilters:
        """Filters of the tiles centred at (x, y).

        ``noise`` is the power of the (science, template) images' blank sky, to be broadcast to
        (n_tiles, size, size // 2 + 1).
        """
