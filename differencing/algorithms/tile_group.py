"""Tiles of a pair of frames on their way through the filters of a matching, in Fourier space."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from astrid_site.imaging.psf import position_terms
from differencing.algorithms.fourier import (
    SmallImageTransform,
    crop_centre,
    forward,
    inverse,
    power_sum,
    to_tensor,
)
from differencing.algorithms.pair import Pair
from differencing.algorithms.tile_filters import Matching
from differencing.algorithms.tiling import Tiling, tile_coordinates

Tensor = torch.Tensor
FloatArray = NDArray[np.float32]

_BLANK_SAMPLE = 7
#: Side of a tile that holds any filter with all that it leaves around it [pix].
_SMALL_TILE = 128
#: Least power of correlated noise, relative to white noise of the same variance, that filters are
#: made for: resampling leaves next to nothing of some frequencies, which must not be lifted.
_LEAST_COLOUR = 0.02
#: Neighbours less correlated than this are taken as white; a reference with pixels of the same
#: width has 0.13.
_LEAST_LINK = 0.05
#: Most variance that a pixel may owe to interpolation, relative to its noise.
_MAX_INTERPOLATED = 0.2


class TileGroup:
    """Neighbouring tiles on their way from pixels to difference and signal.

    They share the shapes of their squared filters; on the CPU they are worked on one by one, for
    one tile with its spectra fits the cache and several do not.
    """

    def __init__(
        self,
        pair: Pair,
        matching: Matching,
        tiling: Tiling,
        corners: list[tuple[int, int]],
        *,
        device: str,
    ) -> None:
        self._pair, self._tiling, self._corners, self._device = pair, tiling, corners, device
        self._x, self._y = tiling.centres(corners)
        self._colour = _noise_colour(pair, tiling.size, device=device)
        blank = [
            _blank(self._samples(plane), self._samples(pair.bad) == 0)[:, None, None]
            for plane in (pair.science_variance, pair.template_variance)
        ]
        noise = (blank[0], blank[1])
        if self._colour is not None:
            noise = (blank[0], blank[1] * self._colour.clamp(min=_LEAST_COLOUR))
        self._terms_order = matching.terms_order
        self._filters = matching.filters(
            self._x, self._y, tiling=tiling, corners=corners, noise=noise
        )
        f = self._filters
        self._matched = f.psf.conj() if f.whiten is None else f.psf.conj() * f.whiten
        self._responses = tuple(self._central_filter(own) for own in (f.science, f.template))
        self._raw_shapes = tuple(
            None if response is None else self._squared(response[:1])
            for response in self._responses
        )
        self._variance_shapes = self._shapes()

    def _samples(self, plane: NDArray[np.generic]) -> Tensor:
        samples = self._tiling.gather(plane, self._corners, step=_BLANK_SAMPLE)
        return torch.from_numpy(samples).to(self._device)

    def run(self) -> Iterator[tuple[list[tuple[int, int]], tuple[Tensor, ...]]]:
        """Corners of some tiles, and their planes.

        The planes are difference, its variance, signal, its variance, static signal, and the
        pixels given up.
        """
        n = len(self._corners)
        step = 1 if self._device == "cpu" else n
        for first in range(0, n, step):
            part = slice(first, first + step)
            yield self._corners[part], self._run(part)

    def _run(self, part: slice) -> tuple[Tensor, ...]:
        f = self._filters
        tiles = _Tiles(self._pair, self._tiling, self._corners[part], device=self._device)
        good = self._without_spoilt(tiles)
        static, static_spectrum = self._filtered_image(tiles.template, f.template, part)
        raw = self._filtered_image(tiles.science, f.science, part)[0] - static
        if f.scale is not None:
            scale = _of(f.scale, part)
            raw, static = raw / scale, static / scale
        if f.scale is not None or static_spectrum is None:
            static_spectrum = forward(static.contiguous())
        spectrum = forward(raw.mul_(good))
        matched = _of(self._matched, part)
        signal = inverse(spectrum * matched)
        static_signal = inverse(static_spectrum * matched)
        white = spectrum if f.whiten is None else spectrum.mul_(_of(f.whiten, part))
        difference = inverse(white).mul_(good)
        variance, signal_variance = self._variance_maps(tiles, good, part)
        return difference, variance, signal, signal_variance, static_signal, good < 0.5

    def _without_spoilt(self, tiles: _Tiles) -> Tensor:
        """Good pixels but those into which the filters mix too much of an interpolated one."""
        good = 1.0 - tiles.bad
        if not bool(tiles.bad.any()):
            return good
        noise = self._raw_variance(tiles.variances, good)
        interpolated = self._raw_variance(tiles.variances, tiles.bad)
        return good.mul_(interpolated < noise.mul_(_MAX_INTERPOLATED))

    def _raw_variance(self, variances: tuple[Tensor, Tensor], share: Tensor) -> Tensor:
        """Variance of the unwhitened difference from the pixels selected by ``share``."""
        total = torch.zeros_like(share)
        for image, shape in zip(variances, self._raw_shapes, strict=True):
            part = image * share
            if shape is not None:
                part = inverse(forward(part).mul_(shape)).clamp_(min=0.0)
            total += part
        return total

    def _filtered_image(
        self, tiles: Tensor, terms: Tensor | None, part: slice
    ) -> tuple[Tensor, Tensor | None]:
        """One image through its polynomial filter, and its spectrum where that was needed.

        The sum over terms of filter * (term x image).
        """
        if terms is None:
            return tiles, None
        own = _of(terms, part)
        total = forward(tiles) * own[:, 0]
        for index, factor in enumerate(self._polynomials(own.shape[1], part), start=1):
            total += forward(tiles * factor).mul_(own[:, index])
        return inverse(total.clone()), total

    def _polynomials(self, n_terms: int, part: slice) -> Iterator[Tensor]:
        """Maps (n_tiles, size, size) of each polynomial term but the constant."""
        if n_terms == 1:
            return
        u, v = (
            torch.from_numpy(axis.astype(np.float32)).to(self._device)
            for axis in tile_coordinates(self._tiling, self._corners[part])
        )
        for total in range(1, self._terms_order + 1):
            for j in range(total + 1):
                yield (v**j)[:, :, None] * (u ** (total - j))[:, None, :]

    def _shapes(self) -> list[list[tuple[Tensor, Tensor]]]:
        """By image, for difference and signal: squared filter, and its sum for each tile.

        The squared filters are those of the group's first tile, brought to each tile's own sum:
        their shape hardly changes over a group, and their transforms cost as much as the image's.
        """
        f = self._filters
        white = torch.ones_like(self._matched) if f.whiten is None else f.whiten
        colours = (None, None if self._colour is None else self._colour.sqrt())
        flux = None if f.scale is None else f.scale.mean(dim=(1, 2))[:, None, None]
        shapes = []
        for response, colour in zip(self._responses, colours, strict=True):
            of_image = []
            for stage in (white, self._matched):
                parts = [part for part in (stage, response, colour) if part is not None]
                powers = power_sum(_product(parts, self._thinned))
                first = _product(parts, lambda spectrum: _of(spectrum, slice(0, 1)))
                ratio = (powers / powers[:1])[:, None, None]
                if flux is not None:
                    first = first / flux[:1]
                    ratio = ratio * (flux[:1] / flux).square()
                of_image.append((self._squared(first), ratio))
            shapes.append(of_image)
        return shapes

    def _thinned(self, spectrum: Tensor) -> Tensor:
        """Every few frequencies, which tell all of a filter far smaller than the tile."""
        step = max(1, self._tiling.size // _SMALL_TILE)
        return spectrum[..., ::step, ::step]

    def _squared(self, response: Tensor) -> Tensor:
        """Spectrum of the square of a filter's pixels."""
        pixels = inverse(response.to(torch.complex64, copy=True))
        return forward(pixels.square_())

    def _variance_maps(self, tiles: _Tiles, good: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Variance of the difference and of the signal: squared filters on the variances."""
        totals: list[Tensor] = []
        for image, of_image in zip(tiles.variances, self._variance_shapes, strict=True):
            noise = forward(image * good)
            for k, (shape, ratio) in enumerate(of_image):
                own = shape * ratio[part]
                if len(totals) <= k:
                    totals.append(noise * own)
                else:
                    totals[k] += own.mul_(noise)
        maps = [inverse(total).clamp_(min=0.0) for total in totals]
        return maps[0], maps[1]

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
        spectrum = self._filters.psf
        if 2 * size < _SMALL_TILE:
            spectrum = self._thinned(spectrum)
        images = inverse(spectrum.clone())
        return np.asarray(crop_centre(images, size).cpu().numpy(), dtype=np.float32)


class _Tiles:
    """Pixels of some tiles, as tensors of shape (n_tiles, size, size)."""

    def __init__(
        self, pair: Pair, tiling: Tiling, corners: list[tuple[int, int]], *, device: str
    ) -> None:
        planes = (
            pair.science,
            pair.template,
            pair.science_variance,
            pair.template_variance,
            pair.bad,
        )
        self.science, self.template, *variances, self.bad = (
            torch.from_numpy(tiling.gather(plane, corners)).to(device) for plane in planes
        )
        self.variances = (variances[0], variances[1])


def _of(values: Tensor, part: slice) -> Tensor:
    """What belongs to some tiles, where there is not one for all of them."""
    return values if len(values) == 1 else values[part]


def _product(spectra: list[Tensor], reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Product of the reduced spectra."""
    first, *others = (reduce(spectrum) for spectrum in spectra)
    for other in others:
        first = first * other
    return first


def _noise_colour(pair: Pair, size: int, *, device: str) -> Tensor | None:
    """Power of the template's noise over white noise's of its variance, (1, size, size // 2 + 1).

    None where neighbours are hardly correlated.
    """
    if pair.template_correlation is None or _next_to(pair.template_correlation) < _LEAST_LINK:
        return None
    correlation = to_tensor(pair.template_correlation, device)
    transform = SmallImageTransform(correlation.shape[-1], size, device=device)
    return transform(correlation).real.clamp(min=0.0)[None]


def _next_to(correlation: FloatArray) -> float:
    """Correlation of neighbours along the rows."""
    middle = correlation.shape[0] // 2
    return float(correlation[middle, middle + 1])


def _blank(variance: Tensor, good: Tensor) -> Tensor:
    """Blank-sky variance of each tile: the median of its good samples."""
    values, usable = variance.flatten(1), good.flatten(1)
    masked = torch.where(usable, values, torch.nan)
    median = masked.nanmedian(dim=1).values
    fallback = values.median()
    return torch.where(torch.isfinite(median), median, fallback)
