"""Errors of fluxes on a difference that hold the source's own photons as they are correlated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad
from astrid_site.imaging.photometry import ForcedFluxes
from astrid_site.imaging.psf import PsfField
from differencing.algorithms.photons import photon_slope, unclaimed_variance

#: Least share of an error that the pixels claim which its source's photons may leave of it.
_LEAST_ERROR_SHARE = 0.5


def photon_excess(science: Image, difference_psf: PsfField) -> float:
    """Variance that each unit of a new source's flux adds beyond what its pixels claim.

    0 where the science image has no PSF or variance, or no star that tells its gain.
    """
    if science.psf is None or science.variance is None:
        return 0.0
    slope = photon_slope(science.data, science.variance, is_bad(science.mask))
    return slope * unclaimed_variance(science.psf, difference_psf)


def with_own_photons(fluxes: ForcedFluxes, excess: float) -> ForcedFluxes:
    """Fluxes whose errors hold the photons of brightening sources as the filters correlate them."""
    squared = fluxes.flux_error**2
    total = squared + excess * np.maximum(fluxes.flux, 0.0)
    least = _LEAST_ERROR_SHARE**2 * squared
    return replace(fluxes, flux_error=np.sqrt(np.maximum(total, least)))
