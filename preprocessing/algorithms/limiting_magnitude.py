"""Limiting magnitude proven by injections: which flux of a source put into a frame is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.difference_products import DifferenceProducts
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad
from astrid_site.imaging.photometry import PsfStamps, cut_psf_stamps, fit_stamp_fluxes, shift_psf
from preprocessing.algorithms.completeness import InjectedDepth, summarise
from preprocessing.algorithms.injection_places import (
    Starlight,
    core_reach,
    crop_stamps,
    draw_places,
    is_quiet,
    require_noise,
    require_places,
    robust_pull_width,
)
from preprocessing.algorithms.noise import source_flux
from preprocessing.algorithms.stars import StarList

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: A source is found where it stands out by so many sigma.
THRESHOLD = 5.0
# places that tell the share found to 2.5 %
_SOURCE_PLACES = 400
# fluxes tried, in magnitudes around the one expected to be found half of the time
_STEPS_MAG = np.linspace(0.75, -0.75, 16)
# a difference shows nothing where its score is below [sigma]
_QUIET_SCORE = 3.0
# from so many on a Poisson deviate is a normal one
_MANY_PHOTONS = 1e9
# margin of a cutout that is smoothed [pix]
_GAP = 4
# a pixel and its neighbours, itself in the middle
_OFFSETS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
_CENTRE = 4


def inject_into_frame(
    image: Image, stars: StarList, *, gain: float | None, rng: np.random.Generator
) -> InjectedDepth:
    """Put point sources on blank places of a calibrated frame and measure which are found.

    Parameters
    ----------
    image : Image
        Background-subtracted frame with variance, mask and PSF.
    stars : StarList
        Its sources; places are drawn where they send next to no light.
    gain : float or None
        Electrons per data unit, for the photons of the sources; None leaves these out.
    rng : numpy.random.Generator
        Source of places and photons.

    Returns
    -------
    InjectedDepth

    Raises
    ------
    ValueError
        If the image lacks variance or PSF.
    AlgorithmError
        If there are fewer than 100 blank places, which carries ``n_places`` and ``n_required``, or
        no noise at them.

    Notes
    -----
    Only cutouts are touched. Each source is the PSF of its own sub-pixel place with Poisson
    photons; found is what forced photometry gives five sigma, where sigma is the propagated
    error, source photons included, times the width that the forced fluxes of the blank places
    themselves have: five true sigma, also where noise is correlated or the field confused.
    What is left of the sky's level, of hidden sources and of defects is in the pixels and counts.
    Listed sources that are not five true sigma themselves are noise and hide no place.
    """
    if image.variance is None or image.psf is None:
        msg = "image: injections need the variance and the PSF"
        raise ValueError(msg)
    psf, margin = image.psf, min(image.psf.size // 2, min(image.shape) // 4)
    starlight = Starlight.of(stars, psf, image.variance)
    good = ~is_bad(image.mask) & (image.variance > 0)
    x, y = draw_places(good, rng, margin=margin, starlight=starlight)
    stamps = cut_psf_stamps(image.data, image.variance, psf, mask=image.mask, x=x, y=y)
    stamps = crop_stamps(stamps, core_reach(psf))
    base = fit_stamp_fluxes(stamps)
    finite = np.isfinite(base.flux)
    require_places(int(np.count_nonzero(finite)))
    pulls = base.flux / base.flux_error
    # noise that is wider than its variance says brings false sources into the list
    usable = np.flatnonzero(
        finite & starlight.is_dark(x, y, THRESHOLD * robust_pull_width(pulls[finite]))
    )
    usable = usable[is_quiet(pulls[usable])]
    require_places(usable.size)
    scale, error = robust_pull_width(pulls[usable]), base.flux_error[usable]
    require_noise(scale)
    sources = _Sources.of(
        stamps, usable[:_SOURCE_PLACES], base.flux, scale=scale, gain=gain, fwhm_pix=psf.fwhm_pix
    )
    unit = float(np.median(error)) * scale
    tried = _expected_flux(unit, sources.photon_term()) * 10 ** (-0.4 * _STEPS_MAG)
    return summarise(
        tried,
        [sources.count_found(value, rng) for value in tried],
        n_places=len(sources.base),
        noise_scale=scale,
        noise_flux=THRESHOLD * float(np.median(error)),
    )


def inject_into_difference(
    subtraction: DifferenceProducts, *, photon_variance: float, rng: np.random.Generator
) -> InjectedDepth:
    """Put new point sources into a difference and measure which its score image shows.

    Parameters
    ----------
    subtraction : DifferenceProducts
        A difference with its score.
    photon_variance : float
        Variance that the photons of a source of unit flux add to its matched-filter signal: the
        photon slope times ``new_source_variance``; 0 leaves them out.
    rng : numpy.random.Generator
        Source of places and photons.

    Returns
    -------
    InjectedDepth
        ``noise_scale`` is the width of the score at the places.

    Raises
    ------
    AlgorithmError
        If there are fewer than 100 usable places, which carries ``n_places`` and ``n_required``,
        or no noise at them.

    Notes
    -----
    A subtraction is linear in the science image up to the choice of the kernel, so a source of
    flux f is ``f P`` in the difference, with its PSF P. Places are drawn wherever nothing stands
    out, on subtracted sources too. Found is a score of five within one pixel of the place, as
    candidates are. What turns signal into score is learned from the planes: the score's noise is
    the propagated one times the one factor that makes both agree at the blank places.
    The photons, seen through all filters of the subtraction, are drawn as a normal deviate.
    """
    psf, score = subtraction.psf, subtraction.score
    good = ~is_bad(subtraction.mask) & (score != 0) & (subtraction.variance > 0)
    good &= np.abs(score) < _QUIET_SCORE
    x, y = draw_places(good, rng, margin=min(psf.size // 2, min(score.shape) // 4))
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    stamps = crop_stamps(
        cut_psf_stamps(
            subtraction.difference,
            subtraction.variance,
            psf,
            mask=subtraction.mask,
            # the score is that of the PSF centred on pixels
            x=column.astype(np.float64),
            y=row.astype(np.float64),
        ),
        core_reach(psf),
    )
    base = fit_stamp_fluxes(stamps)
    usable = np.flatnonzero(np.isfinite(base.flux))
    require_places(usable.size)
    near = _around(score, row, column)
    # the score's noise is the propagated one times a factor that all blank places share
    factor = _slope(near[usable, _CENTRE], base.flux[usable] / base.flux_error[usable])
    chosen = usable[:_SOURCE_PLACES]
    psfs = stamps.psf[chosen]
    norm = np.einsum("nij,nij->n", psfs, psfs, dtype=np.float64)
    noise = factor * base.flux_error[chosen] * norm
    reply = _reply(psfs, x[chosen] - column[chosen], y[chosen] - row[chosen])
    unit = float(np.median(noise / reply.max(axis=1)))
    require_noise(unit)
    tried = THRESHOLD * unit * 10 ** (-0.4 * _STEPS_MAG)
    found = []
    for value in tried:
        photons = np.sqrt(photon_variance * value) * rng.standard_normal(len(chosen))
        shown = near[chosen] + (value * reply + photons[:, None]) / noise[:, None]
        found.append(int(np.count_nonzero(shown.max(axis=1) >= THRESHOLD)))
    return summarise(
        tried,
        found,
        n_places=len(chosen),
        noise_scale=robust_pull_width(near[usable, 4]),
        noise_flux=THRESHOLD * float(np.median(base.flux_error[usable])),
    )


@dataclass(frozen=True)
class _Sources:
    """Places with their cutouts: what forced photometry makes of a source put there."""

    stamps: PsfStamps
    weight: Float64
    norm: Float64
    base: Float64
    scale: float
    gain: float | None
    fwhm_pix: float

    @classmethod
    def of(
        cls,
        stamps: PsfStamps,
        chosen: NDArray[np.intp],
        base: Float64,
        *,
        scale: float,
        gain: float | None,
        fwhm_pix: float,
    ) -> _Sources:
        """The cutouts of some places, and the flux that is measured there without a source."""
        kept = PsfStamps(
            stamps.data[chosen],
            stamps.variance[chosen],
            stamps.mask[chosen],
            stamps.good[chosen],
            stamps.psf[chosen],
        )
        weight = np.where(kept.good, kept.psf, 0.0).astype(np.float64)
        norm = np.einsum("nij,nij->n", weight, weight)
        return cls(kept, weight, norm, base[chosen], scale, gain, fwhm_pix)

    def photon_term(self) -> float:
        """Variance of the measured flux that a source of unit flux brings, of a typical place."""
        if self.gain is None:
            return 0.0
        cubes = np.einsum("nij,nij->n", self.weight**2, np.maximum(self.stamps.psf, 0.0))
        return float(np.median(cubes / self.norm**2)) * self.scale**2 / self.gain

    def count_found(self, flux: float, rng: np.random.Generator) -> int:
        """Sources of a flux that stand out by the threshold, one at each place."""
        light = flux * self.stamps.psf
        drawn = light if self.gain is None else _draw_photons(light, self.gain, rng)
        measured = self.base + np.einsum("nij,nij->n", self.weight, drawn) / self.norm
        variance = self.stamps.variance
        if self.gain is not None:
            variance = variance + self._seen_light(drawn) / np.float32(self.gain)
        error = np.sqrt(np.einsum("nij,nij->n", self.weight**2, variance)) / self.norm
        return int(np.count_nonzero(measured >= THRESHOLD * self.scale * error))

    def _seen_light(self, drawn: Float64 | FloatArray) -> FloatArray:
        """Light of the sources as ``build_variance`` would find it in the frame."""
        # side by side with a margin, so that no cutout is smoothed into the next
        gap = ((0, 0), (_GAP, _GAP), (_GAP, _GAP))
        data = np.pad((self.stamps.data + drawn).astype(np.float32), gap)
        noise = np.pad(np.sqrt(self.stamps.variance), gap, mode="edge")
        side = data.shape[-1]
        found = source_flux(
            data.reshape(-1, side), noise.reshape(-1, side), fwhm_pix=self.fwhm_pix
        ).reshape(data.shape)
        return found[:, _GAP:-_GAP, _GAP:-_GAP]


def _draw_photons(light: FloatArray, gain: float, rng: np.random.Generator) -> Float64:
    """Light with its photon noise; what a fitted PSF has below zero stays as it is."""
    expected = np.maximum(light, 0.0).astype(np.float64) * gain
    photons = rng.poisson(np.minimum(expected, _MANY_PHOTONS)).astype(np.float64)
    # more than the generator can draw: a header with an absurd gain
    many = expected > _MANY_PHOTONS
    if many.any():
        photons[many] = expected[many] + np.sqrt(expected[many]) * rng.standard_normal(many.sum())
    return np.asarray(photons / gain + np.minimum(light, 0.0), dtype=np.float64)


def _expected_flux(unit: float, term: float) -> float:
    """Flux f with ``f^2 = 25 (unit^2 + term f)``: five sigma over sky and its own photons."""
    square = THRESHOLD**2
    return float((square * term + np.sqrt((square * term) ** 2 + 4 * square * unit**2)) / 2.0)


def _around(score: FloatArray, row: IntArray, column: IntArray) -> Float64:
    """Scores of the 3 x 3 pixels around n places, shape (n, 9)."""
    parts = [score[row + dy, column + dx] for dy, dx in _OFFSETS]
    return np.asarray(np.stack(parts, axis=-1), dtype=np.float64)


def _reply(psfs: FloatArray, dx: Float64, dy: Float64) -> Float64:
    """Signal of a source of unit flux in the 3 x 3 pixels around it, shape (n, 9)."""
    source = shift_psf(psfs, dx, dy)
    padded = np.pad(psfs, ((0, 0), (1, 1), (1, 1)))
    size = psfs.shape[-1]
    parts = [
        # the filter centred on the pixel at (dy, dx)
        np.einsum("nij,nij->n", padded[:, 1 - j : 1 - j + size, 1 - i : 1 - i + size], source)
        for j, i in _OFFSETS
    ]
    return np.asarray(np.stack(parts, axis=-1), dtype=np.float64)


def _slope(x: Float64, y: Float64) -> float:
    """Slope of a line through the origin."""
    return float((x * y).sum() / (x * x).sum())
