"""Photon noise of a new source: what it adds to the variance of its own score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.psf import PsfField
from differencing.algorithms.pair import Pair

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Pixels this far above the sky tell how the variance grows with light, if there are enough.
_BRIGHT_SIGMA = 20.0
_MIN_PIXELS = 100
_STEP = 7
#: Share of the PSF's power below which its inverse is not taken.
_LEAST_POWER = 1e-8


def measure_photon_slope(pair: Pair) -> float:
    """Variance that the science image claims for each unit of light, beyond the sky's.

    Returns
    -------
    float
        [data units]; one over the gain where the variance holds the photons of sources, 0 where
        it does not or where fewer than 100 pixels are bright enough to tell.
    """
    step = (slice(None, None, _STEP), slice(None, None, _STEP))
    sky_pixels = pair.science_variance[step][~pair.bad[step]]
    if len(sky_pixels) == 0:
        return 0.0
    sky = float(np.median(sky_pixels))
    bright = (pair.science > _BRIGHT_SIGMA * np.sqrt(sky)) & ~pair.bad
    light = pair.science[bright]
    if len(light) < _MIN_PIXELS:
        return 0.0
    slope = (pair.science_variance[bright] - np.float32(sky)) / light
    return max(float(np.median(slope)), 0.0)


def new_source_variance(science_psf: PsfField, difference_psf: PsfField) -> float:
    """Variance that the photons of a new source add to its matched-filter signal.

    Parameters
    ----------
    science_psf, difference_psf : PsfField
        PSFs of the science image and of the difference.

    Returns
    -------
    float
        At the source, for unit flux and unit photon slope.

    Notes
    -----
    The signal of a source is the difference's PSF correlated with itself, ``|P_D|^2``, and also
    the science image's PSF through all filters, ``h P_S``; hence ``h = |P_D|^2 / P_S`` for every
    method and direction. The photons lie as the source does, so that they add
    ``sum(h^2 P_S)``: [1]_ eq. 26 for a variance that is the source alone.

    References
    ----------
    .. [1] Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27.
    """
    own, final = _central(science_psf), _central(difference_psf)
    side = 2 * max(own.shape[0], final.shape[0])
    of_science, of_difference = _spectrum(own, side), _spectrum(final, side)
    power = np.abs(of_science) ** 2
    inverse = np.conj(of_science) / np.maximum(power, _LEAST_POWER * power.max())
    response = np.fft.irfft2(np.abs(of_difference) ** 2 * inverse, s=(side, side))
    source = np.fft.irfft2(np.conj(of_science), s=(side, side))
    return float(np.sum(response**2 * source))


def _central(psf: PsfField) -> Float64:
    ny, nx = psf.shape
    return np.asarray(psf.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0], dtype=np.float64)


def _spectrum(image: Float64, side: int) -> NDArray[np.complex128]:
    """Transform of an image about its middle pixel."""
    padded = np.zeros((side, side))
    padded[: image.shape[0], : image.shape[1]] = image
    return np.asarray(np.fft.rfft2(np.roll(padded, -(image.shape[0] // 2), axis=(0, 1))))
