"""Proper image subtraction of Zackay, Ofek & Gal-Yam, with PSFs that vary over the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.psf import PsfField
from differencing.algorithms.fourier import SmallImageTransform
from differencing.algorithms.pair import Pair
from differencing.algorithms.stamps import select_stars
from differencing.algorithms.subtraction import Stars
from differencing.algorithms.tiles import TileFilters
from differencing.algorithms.tiling import Tiling

Tensor = torch.Tensor
FloatArray = NDArray[np.float32]

_MIN_STARS = 1


@dataclass(frozen=True)
class ZogyMatching:
    """The filters of ZOGY for each tile's own PSFs and sky noise.

    Attributes
    ----------
    flux_ratio : float
        Science over template flux of a star (the paper's F_n / F_r).
    science_psf, template_psf : PsfField
        PSFs.
    device : str
        torch device.

    Notes
    -----
    With N, R the science and template transforms, P_n, P_r the PSFs, F = F_n / F_r and the sky
    noise s_n, F s_r in science units, [1]_ eq. 13 reads
    ``D = (P_r N - F P_n R) / sqrt(s_n^2 |P_r|^2 + F^2 s_r^2 |P_n|^2)``
    and eq. 14 gives its PSF ``P_n P_r / sqrt(...)``; both are scaled here so that the PSF has
    unit sum, which makes D a difference in science units. The matched filter with P_D is the
    score (eq. 17); its variance with the source noise of both images (eqs. 26-29) and the
    registration term (eqs. 30-33) is formed in ``tiles`` and ``score``, alike for both methods.

    References
    ----------
    .. [1] Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27.
    """

    flux_ratio: float
    science_psf: PsfField
    template_psf: PsfField
    device: str = "cpu"

    @property
    def terms_order(self) -> int:
        """No polynomial terms: the PSFs are those of the tile's centre."""
        return 0

    @property
    def largest_tile(self) -> int:
        """Small tiles, because the PSF is constant over each."""
        return 256

    @property
    def reach(self) -> int:
        """Half width of both PSFs together."""
        return self.science_psf.size // 2 + self.template_psf.size // 2 + 4

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
        of_science = self._transform(self.science_psf.at(x, y), tiling.size)
        of_template = self._transform(self.template_psf.at(x, y), tiling.size)
        ratio = self.flux_ratio
        power = noise[0] * of_template.abs().square()
        power = power + ratio**2 * noise[1] * of_science.abs().square()
        # where both PSFs have no power there is no information either
        whiten = torch.sqrt(power[:, :1, :1] / power.clamp(min=1e-9 * float(power.max())))
        return TileFilters(
            science=(of_template * whiten)[:, None],
            template=(ratio * of_science * whiten)[:, None],
            whiten=None,
            psf=of_science * of_template * whiten,
        )

    def _transform(self, images: FloatArray, tile_size: int) -> Tensor:
        transform = SmallImageTransform(images.shape[-1], tile_size, device=self.device)
        return transform(torch.from_numpy(images).to(self.device))


@dataclass(frozen=True)
class FluxRatio:
    """Science over template flux, and the stars it was measured on."""

    value: float
    n_stars: int


def match_fluxes(pair: Pair, stars: Stars, *, max_stars: int) -> FluxRatio:
    """Median ratio of PSF-weighted star fluxes in the two images.

    Each image is blurred with the other's PSF, so that both are seen through one effective PSF
    and the star's sub-pixel position cancels in the ratio.

    Raises
    ------
    AlgorithmError
        Without a usable star; carries ``n_stars`` and ``n_required``.
    """
    half = max(pair.science_psf.size, pair.template_psf.size) // 2
    positions = select_stars(stars, pair.bad, half_width=half, max_stars=max_stars)
    ratios, weights = [], []
    for x, y in zip(positions.x, positions.y, strict=True):
        fluxes = _weighed_fluxes(pair, int(x), int(y))
        if fluxes is not None:
            ratios.append(fluxes[0])
            weights.append(fluxes[1])
    if len(ratios) < _MIN_STARS:
        msg = f"only {len(ratios)} usable stars for the flux ratio, {_MIN_STARS} needed"
        raise AlgorithmError(msg, n_stars=len(ratios), n_required=_MIN_STARS)
    return FluxRatio(_weighted_median(np.array(ratios), np.array(weights)), len(ratios))


def _weighed_fluxes(pair: Pair, x: int, y: int) -> tuple[float, float] | None:
    """Flux ratio of one star and its weight; None where either image shows no star."""
    # a third of a second to load, for what few pairs need
    from scipy.signal import fftconvolve

    of_science = pair.science_psf.at(float(x), float(y))[0]
    of_template = pair.template_psf.at(float(x), float(y))[0]
    common = fftconvolve(of_science, of_template, mode="full")
    science = _weighed(pair.science, x, y, blur=of_template, weight=common)
    template = _weighed(pair.template, x, y, blur=of_science, weight=common)
    if science <= 0 or template <= 0:
        return None
    return science / template, float(np.sqrt(science))


def _weighed(data: FloatArray, x: int, y: int, *, blur: FloatArray, weight: FloatArray) -> float:
    """Weighted sum of the blurred data: the blur is moved onto the weight."""
    from scipy.signal import fftconvolve

    moved = fftconvolve(weight, blur[::-1, ::-1], mode="same")
    half = min(blur.shape[0], weight.shape[0]) // 2
    middle = moved.shape[0] // 2
    inner = moved[middle - half : middle + half + 1, middle - half : middle + half + 1]
    box = data[y - half : y + half + 1, x - half : x + half + 1]
    return float((box * inner).sum())


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, 0.5 * cumulative[-1])])
