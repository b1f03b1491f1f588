"""Stars whose pixels come from different epochs: they have a PSF like no other star's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_laplace

from astrid_site.imaging.psf import PsfField

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

_SIGMA_OF_FWHM = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))
#: Smoothing under which the curvature of light is taken [pix]; of less than so many sigma, none.
_SMOOTHING = 1.0
_LEAST_SIGMA = 5.0
#: Less is rounding [pix^2].
_LEAST_WIDENING = 1e-4


def squared_widths(psfs: Sequence[PsfField]) -> Float64:
    """Variance of each PSF's profile along one axis, shape (n,) [pix^2]."""
    return np.array([(psf.fwhm_pix * _SIGMA_OF_FWHM) ** 2 for psf in psfs])


def uneven_psf_variance(
    data: FloatArray, variance: FloatArray, *, widening: FloatArray, psf: PsfField
) -> FloatArray:
    """Variance of a coadd's pixels whose epochs are not those of the pixels around them.

    Parameters
    ----------
    data, variance : NDArray[float32], shape (ny, nx)
        The coadd and the variance of its noise.
    widening : NDArray[float32], shape (ny, nx)
        By how much the mean squared width of the epochs in a pixel exceeds that of all [pix^2].
    psf : PsfField
        Of the coadd.

    Returns
    -------
    NDArray[float32], shape (ny, nx)
        Zero where all epochs are, and where there is no light.

    Notes
    -----
    Where a frame ends, or is masked, on a bright star, the star's wing is that of other seeing
    than its core. No kernel that varies smoothly over the frame can follow. A profile widened by
    w is lighter by half w times its Laplacian, to first order. That error is one for all pixels
    of a PSF, whose area is 4 pi sigma^2 pixels; what is made of the image (warped, convolved,
    filtered) takes variances for those of noise, which averages out over that area.
    """
    away = np.flatnonzero((np.abs(widening) > _LEAST_WIDENING).any(axis=1))
    extra = np.zeros_like(variance)
    if away.size == 0:
        return extra
    sigma = psf.fwhm_pix * _SIGMA_OF_FWHM
    rows = slice(int(away[0]), int(away[-1]) + 1)
    reach = math.ceil(5.0 * _SMOOTHING)
    wide = slice(max(0, rows.start - reach), min(rows.stop + reach, len(data)))
    inside = slice(rows.start - wide.start, rows.stop - wide.start)
    curvature = gaussian_laplace(data[wide], _SMOOTHING, mode="nearest")[inside]
    # what that filter leaves of white noise
    noise = np.sqrt(np.maximum(variance[rows], 0.0) / np.float32(2.0 * math.pi * _SMOOTHING**6))
    change = np.float32(0.5) * widening[rows] * curvature
    change[np.abs(curvature) <= np.float32(_LEAST_SIGMA) * noise] = 0.0
    extra[rows] = np.float32(4.0 * math.pi * sigma**2) * np.square(change)
    return extra
