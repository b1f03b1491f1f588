"""Filters of the kernel method: convolve one image to look like the other, then whiten."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from astrid_site.imaging.psf import PsfField
from differencing.algorithms.fourier import SmallImageTransform
from differencing.algorithms.psf_matching import KernelField
from differencing.algorithms.tiles import TileFilters
from differencing.algorithms.tiling import Tiling, tile_coordinates

Tensor = torch.Tensor
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class KernelMatching:
    """Matching by a fitted kernel.

    Attributes
    ----------
    kernel : KernelField
        Kernel that convolves the image named by ``direction``.
    direction : {"template", "science", "cross"}
        Which image is convolved. With ``cross`` the kernel convolves the template after each
        image has been convolved with the other's central PSF.
    science_psf, template_psf : PsfField
        PSFs of the two images.
    device : str
        torch device.

    Notes
    -----
    With science S, template R, kernel K, the raw difference is ``S - K R`` or, divided by the
    kernel's sum, ``K S - R``. Its noise has the power ``sigma_S^2 + sigma_R^2 |K|^2`` (or with
    the roles exchanged); the whitening filter is the inverse square root of that, scaled to one
    at frequency zero so that fluxes stay in science units. For the exact K = P_R / P_S the
    second form is the proper difference of ZOGY [1]_ eq. 13: nothing is lost by convolving the
    sharper image, whichever it is.

    References
    ----------
    .. [1] Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27.
    .. [2] Reiss & Lupton 2016, LSST DMTN-021 (decorrelation of the difference).
    """

    kernel: KernelField
    direction: str
    science_psf: PsfField
    template_psf: PsfField
    device: str = "cpu"
    _cache: dict[tuple[str, int], Tensor] = field(default_factory=dict, repr=False)

    @property
    def terms_order(self) -> int:
        """Order of the kernel's variation."""
        return self.kernel.order

    @property
    def largest_tile(self) -> int:
        """Polynomial terms are exact at any size; the PSF is taken at the tile's centre."""
        return 512

    @property
    def reach(self) -> int:
        """Half width of kernel, PSF and whitening together."""
        half_psf = max(self.science_psf.size, self.template_psf.size) // 2
        half_kernel = int(self.kernel.coefficients.shape[-1]) // 2
        return half_kernel + half_psf + (half_psf if self.direction == "cross" else 6)

    def filters(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        *,
        tiling: Tiling,
        corners: list[tuple[int, int]],
        noise: tuple[Tensor, Tensor],
    ) -> TileFilters:
        """Filters of the tiles centred at (x, y)."""
        terms = self._term_spectra(tiling.size)
        local = self._transform(self.kernel.at(x, y), tiling.size)
        psf = self._transform(self.science_psf.at(x, y), tiling.size)
        if self.direction == "template":
            whiten = _whitening(noise[0], noise[1], local)
            return TileFilters(None, terms[None], whiten, psf * whiten)
        if self.direction == "science":
            # K S - R: the kernel's own sum is the flux scale of the raw difference
            total = local[:, :1, :1]
            whiten = _whitening(noise[1], noise[0], local)
            scale = self._flux_scale(tiling, corners)
            return TileFilters(terms[None], None, whiten, psf * local / total * whiten, scale)
        return self._crossed(terms, local, psf, tiling=tiling, noise=noise)

    def _crossed(
        self,
        terms: Tensor,
        local: Tensor,
        psf: Tensor,
        *,
        tiling: Tiling,
        noise: tuple[Tensor, Tensor],
    ) -> TileFilters:
        """Filters of ``P_R S - K P_S R``, whitened before the masks are applied.

        Twice-smoothed noise reaches across any mask; whitened first, it does not.
        """
        of_science = self._transform(central_psf(self.template_psf)[None], tiling.size)
        of_template = self._transform(central_psf(self.science_psf)[None], tiling.size)
        power = noise[0] * of_science.abs().square()
        power = power + noise[1] * (of_template * local).abs().square()
        whiten = torch.sqrt(power[:, :1, :1] / power.clamp(min=1e-9 * float(power.max())))
        science = (of_science * whiten)[:, None]
        template = terms[None] * (of_template * whiten)[:, None]
        return TileFilters(science, template, None, psf * of_science * whiten)

    def _transform(self, images: FloatArray, tile_size: int) -> Tensor:
        transform = SmallImageTransform(images.shape[-1], tile_size, device=self.device)
        return transform(torch.from_numpy(images).to(self.device))

    def _term_spectra(self, tile_size: int) -> Tensor:
        """Spectra of the kernel's terms, the same for every tile, so computed once."""
        key = ("terms", tile_size)
        if key not in self._cache:
            self._cache[key] = self._transform(self.kernel.coefficients, tile_size)
        return self._cache[key]

    def _flux_scale(self, tiling: Tiling, corners: list[tuple[int, int]]) -> Tensor:
        """The kernel's sum at every pixel of the tiles."""
        u, v = tile_coordinates(tiling, corners)
        sums = iter(self.kernel.term_sums)
        total = np.zeros((len(corners), tiling.size, tiling.size), dtype=np.float32)
        for degree in range(self.kernel.order + 1):
            for j in range(degree + 1):
                total += next(sums) * (v**j)[:, :, None] * (u ** (degree - j))[:, None, :]
        return torch.from_numpy(total).to(self.device)


def _whitening(fixed: Tensor, moving: Tensor, kernel: Tensor) -> Tensor:
    """Inverse square root of the noise power of ``fixed - K moving``, one at frequency zero."""
    power = fixed + moving * kernel.abs().square()
    return torch.sqrt(power[:, :1, :1] / power)


def central_psf(psf: PsfField) -> FloatArray:
    """The PSF at the middle of the frame, (size, size)."""
    ny, nx = psf.shape
    return np.asarray(psf.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0], dtype=np.float32)
