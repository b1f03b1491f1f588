"""Filtering a pair of frames tile by tile in Fourier space (overlap-save), with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from astrid_site.imaging.psf import PsfField, measure_fwhm, position_terms
from differencing.algorithms.fourier import (
    SmallImageTransform,
    crop_centre,
    forward,
    inverse,
    power_sum,
    to_tensor,
)
from differencing.algorithms.pair import Pair
from differencing.algorithms.tiling import Tiling, plan_tiles, tile_coordinates

Tensor = torch.Tensor
FloatArray = NDArray[np.float32]

_BLANK_SAMPLE = 7
#: Least power of correlated noise, relative to white noise of the same variance.
_LEAST_COLOUR = 0.02
#: Neighbours less correlated than this are taken as white: a reference with pixels of the same
#: width has 0.13, and to lift the frequencies it lacks sharpens what is left of stars.
_LEAST_LINK = 0.3
#: Most variance that a pixel may owe to interpolation, relative to its noise.
_MAX_INTERPOLATED = 0.2


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


@dataclass(frozen=True)
class Filtered:
    """Planes of shape (ny, nx) that subtraction and score are made of.

    Attributes
    ----------
    difference : NDArray[float32]
        Whitened difference [science units]; 0 on bad pixels.
    variance : NDArray[float32]
        Propagated variance of ``difference``.
    signal : NDArray[float32]
        Matched filter output ``sum(psf * difference)``.
    signal_variance : NDArray[float32]
        Its variance, both images' source noise included.
    static_signal : NDArray[float32]
        The same filter on the matched template: what was subtracted there.
    bad : NDArray[bool]
        Pixels without a difference, those spoilt by interpolated neighbours included.
    psf : PsfField
        PSF of the difference.
    """

    difference: FloatArray
    variance: FloatArray
    signal: FloatArray
    signal_variance: FloatArray
    static_signal: FloatArray
    bad: NDArray[np.bool_]
    psf: PsfField


def filter_pair(pair: Pair, matching: Matching, *, device: str, threads: int) -> Filtered:
    """Difference, matched-filter signal and their variances over the whole frame.

    Parameters
    ----------
    pair : Pair
        The two frames.
    matching : Matching
        Filters of either method.
    device : str
        torch device.
    threads : int
        Threads of the transforms on the CPU.
    """
    tiling = plan_tiles(pair.shape, margin=matching.reach, largest=matching.largest_tile)
    planes = [np.zeros(pair.shape, dtype=np.float32) for _ in range(6)]
    psfs: list[FloatArray] = []
    size = _psf_size(pair)
    for corners in tiling.batches():
        work = _TileWork(pair, matching, tiling, corners, device=device, threads=threads)
        for plane, tiles in zip(planes, work.run(), strict=True):
            tiling.scatter(plane, tiles, corners)
        psfs.append(work.psf_images(size))
    x, y = tiling.centres(tiling.corners)
    psf = fit_psf_field(np.concatenate(psfs), x, y, shape=pair.shape)
    bad = pair.bad | (planes[5] < 0.5)
    planes[0][bad] = 0.0
    return Filtered(
        difference=planes[0],
        variance=planes[1],
        signal=planes[2],
        signal_variance=planes[3],
        static_signal=planes[4],
        bad=bad,
        psf=psf,
    )


def _psf_size(pair: Pair) -> int:
    return max(pair.science_psf.size, pair.template_psf.size)


class _TileWork:
    """One batch of tiles on its way from pixels to difference and signal."""

    def __init__(
        self,
        pair: Pair,
        matching: Matching,
        tiling: Tiling,
        corners: list[tuple[int, int]],
        *,
        device: str,
        threads: int,
    ) -> None:
        self._tiling, self._corners, self._threads = tiling, corners, threads
        self._x, self._y = tiling.centres(corners)
        self._good = 1.0 - self._tiles(pair.bad, device)
        self._science = self._tiles(pair.science, device)
        self._template = self._tiles(pair.template, device)
        self._variances = (
            self._tiles(pair.science_variance, device),
            self._tiles(pair.template_variance, device),
        )
        self._bad = 1.0 - self._good
        self._colour = _noise_colour(pair, tiling.size, device=device)
        blank = [_blank(part, self._good)[:, None, None] for part in self._variances]
        noise = (blank[0], blank[1] if self._colour is None else blank[1] * self._colour)
        self._terms_order = matching.terms_order
        self._filters = matching.filters(
            self._x, self._y, tiling=tiling, corners=corners, noise=noise
        )

    def _tiles(self, plane: NDArray[np.generic], device: str) -> Tensor:
        return torch.from_numpy(self._tiling.gather(plane, self._corners)).to(device)

    def run(self) -> tuple[Tensor, ...]:
        """Difference, its variance, signal, its variance, static signal and good pixels."""
        f, threads = self._filters, self._threads
        self._spread_bad_pixels()
        static, static_spectrum = self._filtered_image(self._template, f.template)
        raw = self._filtered_image(self._science, f.science)[0] - static
        if f.scale is not None:
            raw, static = raw / f.scale, static / f.scale
        if f.scale is not None or static_spectrum is None:
            static_spectrum = forward(static.contiguous(), threads=threads)
        spectrum = forward((raw * self._good).contiguous(), threads=threads)
        white = spectrum.clone() if f.whiten is None else spectrum * f.whiten
        difference = inverse(white, threads=threads) * self._good
        matched = f.psf.conj() if f.whiten is None else f.psf.conj() * f.whiten
        signal = inverse(spectrum * matched, threads=threads)
        static_signal = inverse(static_spectrum * matched, threads=threads)
        variance, signal_variance = self._variance_maps(matched)
        return difference, variance, signal, signal_variance, static_signal, self._good

    def _spread_bad_pixels(self) -> None:
        """Give up pixels into which the filters mix too much of an interpolated pixel's error."""
        if not bool(self._bad.any()):
            return
        noise = self._raw_variance(self._good)
        interpolated = self._raw_variance(self._bad)
        self._good = self._good * (interpolated < _MAX_INTERPOLATED * noise)

    def _raw_variance(self, share: Tensor) -> Tensor:
        """Variance of the unwhitened difference from the pixels selected by ``share``."""
        total: Tensor | None = None
        for image, terms in zip(
            self._variances, (self._filters.science, self._filters.template), strict=True
        ):
            part = (image * share).contiguous()
            response = self._central_filter(terms)
            if response is not None:
                squared = inverse(response[:1].clone(), threads=self._threads).square()
                spectrum = forward(part, threads=self._threads)
                spectrum = spectrum * forward(squared.contiguous(), threads=self._threads)
                part = inverse(spectrum, threads=self._threads).clamp(min=0.0)
            total = part if total is None else total + part
        return torch.zeros_like(share) if total is None else total

    def _filtered_image(self, tiles: Tensor, terms: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One image through its polynomial filter, and its spectrum where that was needed.

        The sum over terms of filter * (term x image).
        """
        if terms is None:
            return tiles, None
        total: Tensor | None = None
        for index, factor in enumerate(self._polynomials(terms.shape[1])):
            source = tiles if factor is None else tiles * factor
            part = forward(source.contiguous(), threads=self._threads) * terms[:, index]
            total = part if total is None else total + part
        if total is None:
            return tiles, None
        return inverse(total.clone(), threads=self._threads), total

    def _polynomials(self, n_terms: int) -> Iterator[Tensor | None]:
        """Maps (n_tiles, size, size) of each polynomial term; None for the constant."""
        yield None
        if n_terms == 1:
            return
        u, v = (part.astype(np.float32) for part in tile_coordinates(self._tiling, self._corners))
        order = self._terms_order
        for total in range(1, order + 1):
            for j in range(total + 1):
                product = (v**j)[:, :, None] * (u ** (total - j))[:, None, :]
                yield torch.from_numpy(product).to(self._science.device)

    def _variance_maps(self, matched: Tensor) -> tuple[Tensor, Tensor]:
        """Variance of the difference and of the signal: squared filters on the variances.

        The squared filters are those of the batch's first tile, brought to each tile's own sum:
        their shape hardly changes over a batch, and their transforms cost as much as the image's.
        """
        f, threads = self._filters, self._threads
        white = torch.ones_like(matched) if f.whiten is None else f.whiten
        totals: list[Tensor | None] = [None, None]
        colours = (None, None if self._colour is None else self._colour.sqrt())
        for image, own, colour in zip(
            self._variances, (f.science, f.template), colours, strict=True
        ):
            noise = forward((image * self._good).contiguous(), threads=threads)
            response = self._central_filter(own)
            for k, stage in enumerate((white, matched)):
                full = stage if response is None else stage * response
                full = full if colour is None else full * colour
                if f.scale is not None:
                    full = full / f.scale.mean(dim=(1, 2))[:, None, None]
                squared = inverse(full[:1].to(torch.complex64, copy=True), threads=threads).square()
                shape = forward(squared.contiguous(), threads=threads)
                ratio = power_sum(full) / power_sum(full[:1])
                part = noise * shape * ratio[:, None, None]
                total = totals[k]
                totals[k] = part if total is None else total + part
        maps = [inverse(total, threads=threads) for total in totals if total is not None]
        return maps[0].clamp(min=0.0), maps[1].clamp(min=0.0)

    def _central_filter(self, terms: Tensor | None) -> Tensor | None:
        """An image's filter at each tile's centre, (n_tiles, size, size // 2 + 1)."""
        if terms is None:
            return None
        if terms.shape[1] == 1:
            return terms[:, 0]
        values = position_terms(self._x, self._y, shape=self._tiling.shape, order=self._terms_order)
        weights = torch.from_numpy(values.astype(np.float32)).to(terms.device)
        return torch.einsum(
            "nk,nkij->nij", weights.to(terms.dtype), terms.expand(len(self._x), -1, -1, -1)
        )

    def psf_images(self, size: int) -> FloatArray:
        """PSF of the difference at each tile's centre, (n_tiles, size, size)."""
        images = inverse(self._filters.psf.clone(), threads=self._threads)
        return np.asarray(crop_centre(images, size).cpu().numpy(), dtype=np.float32)


def _noise_colour(pair: Pair, size: int, *, device: str) -> Tensor | None:
    """Power of the template's noise relative to white noise of its variance, (size, size // 2 + 1).

    Resampling leaves next to nothing of some frequencies: a floor keeps them from being lifted.
    """
    if pair.template_correlation is None or _next_to(pair.template_correlation) < _LEAST_LINK:
        return None
    correlation = to_tensor(pair.template_correlation, device)
    transform = SmallImageTransform(correlation.shape[-1], size, device=device)
    return transform(correlation).real.clamp(min=_LEAST_COLOUR)


def _next_to(correlation: FloatArray) -> float:
    """Correlation of neighbours along the rows."""
    middle = correlation.shape[0] // 2
    return float(correlation[middle, middle + 1])


def _blank(variance: Tensor, good: Tensor) -> Tensor:
    """Blank-sky variance of each tile: the median of its good pixels."""
    step = _BLANK_SAMPLE
    values = variance[:, ::step, ::step].flatten(1)
    usable = good[:, ::step, ::step].flatten(1) > 0
    masked = torch.where(usable, values, torch.nan)
    median = masked.nanmedian(dim=1).values
    fallback = values.median()
    return torch.where(torch.isfinite(median), median, fallback)


def fit_psf_field(
    images: FloatArray, x: NDArray[np.float64], y: NDArray[np.float64], *, shape: tuple[int, int]
) -> PsfField:
    """PSF field through PSF images at the centres of tiles."""
    order = 2 if len(images) >= 12 else 1 if len(images) >= 4 else 0
    terms = position_terms(x, y, shape=shape, order=order)
    solution, *_ = np.linalg.lstsq(terms, images.reshape(len(images), -1), rcond=None)
    coefficients = solution.reshape(-1, *images.shape[1:]).astype(np.float32)
    centre = position_terms(
        np.array([(shape[1] - 1) / 2]), np.array([(shape[0] - 1) / 2]), shape=shape, order=order
    )
    middle = np.einsum("k,kij->ij", centre[0].astype(np.float32), coefficients)
    return PsfField(
        coefficients=coefficients,
        order=order,
        shape=shape,
        fwhm_pix=measure_fwhm(np.asarray(middle, dtype=np.float32)),
        n_stars=0,
    )
