"""Flux of sources that a mask cuts: where the peak is not seen, its place has to be fitted too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.photometry import ForcedFluxes, PsfStamps, shift_psf

Float64 = NDArray[np.float64]

#: Share of the PSF's squared weight below which a mask moves no peak.
_LEAST_LOST = 0.02
#: How far off its peak a source is that a mask cuts [FWHM], as a normal distribution; what is
#: hidden deeper leaves no peak.
_USUAL_MISS = 0.5
#: Steps of the grid of places in one FWHM.
_STEPS_PER_FWHM = 12


def fit_cut_sources(
    stamps: PsfStamps, fluxes: ForcedFluxes, *, noise_scale: float, fwhm_pix: float
) -> ForcedFluxes:
    """Fit the flux of sources under a mask together with their place, from the pixels that count.

    Parameters
    ----------
    stamps : PsfStamps
        Pixels around n peaks, with the PSF at the peak.
    fluxes : ForcedFluxes
        Their fluxes at the peak.
    noise_scale : float
        Factor on the errors.
    fwhm_pix : float
        Width of the PSF [pix]: as far off the peak is the source sought, half of it usually.

    Returns
    -------
    ForcedFluxes
        Flux and error replaced where over 2 % of the PSF's squared weight is masked. The error
        holds that of the place, and so what may lie under the mask.

    Notes
    -----
    The peak of what a mask leaves of a source is not where the source is: at the peak its flux
    is too low by up to a half, with an error that knows nothing of it. Flux and error are mean and
    width of the fluxes at all places within one FWHM, each weighed by how well the good pixels
    bear it out, times a normal distribution of misses of half a FWHM. Pixels have one weight, as in
    ``forced_photometry``.
    """
    flux, error = fluxes.flux.copy(), fluxes.flux_error.copy()
    for i in np.flatnonzero(fluxes.mask_fraction > _LEAST_LOST):
        flux[i], error[i] = _fit_one(stamps, int(i), fwhm_pix, noise_scale)
        error[i] = max(error[i], fluxes.flux_error[i])
    return replace(fluxes, flux=flux, flux_error=error)


def _fit_one(stamps: PsfStamps, i: int, fwhm_pix: float, noise_scale: float) -> tuple[float, float]:
    """Flux and its error of one source that may be anywhere within one FWHM of its peak."""
    good = stamps.good[i]
    data = stamps.data[i][good].astype(np.float64)
    variance = stamps.variance[i][good].astype(np.float64) * noise_scale**2
    dx, dy = _places(fwhm_pix)
    psf = shift_psf(np.repeat(stamps.psf[i : i + 1], len(dx), axis=0), dx, dy)
    seen = psf[:, good].astype(np.float64)
    norm = np.square(seen).sum(axis=1)
    fluxes = seen @ data / norm
    own_variance = np.square(seen) @ variance / norm**2
    miss = (dx**2 + dy**2) / (_USUAL_MISS * fwhm_pix) ** 2
    likelihood = fluxes**2 * norm / float(np.median(variance)) - miss
    weight = np.exp(0.5 * (likelihood - likelihood.max()))
    flux = float(np.average(fluxes, weights=weight))
    spread = float(np.average((fluxes - flux) ** 2 + own_variance, weights=weight))
    return flux, float(np.sqrt(spread))


def _places(fwhm_pix: float) -> tuple[Float64, Float64]:
    """Offsets within one FWHM, on a grid through the middle [pix]."""
    line = np.arange(-_STEPS_PER_FWHM, _STEPS_PER_FWHM + 1) * (fwhm_pix / _STEPS_PER_FWHM)
    dy, dx = (grid.ravel() for grid in np.meshgrid(line, line, indexing="ij"))
    inside = np.hypot(dx, dy) <= fwhm_pix * (1.0 + 1e-9)
    return dx[inside], dy[inside]
