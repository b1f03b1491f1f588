"""Photon noise of a new source: what it adds to the variance of its own score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.psf import PsfField
from differencing.algorithms.pair import Pair

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Float64 = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

#: Pixels this far above the sky tell how the variance grows with light, if there are enough.
_BRIGHT_SIGMA = 20.0
_MIN_PIXELS = 100
_STEP = 7
#: Share of the PSF's power below which its inverse is not taken.
_LEAST_POWER = 1e-8
#: Share below which the quotient of two measured PSFs is not believed, and the range above it that
#: tells where the filter is flat.
_FLAT_POWER = 1e-5
_FLAT_FROM = 10.0


def measure_photon_slope(pair: Pair) -> float:
    """Variance that the science image of a pair claims for each unit of light."""
    return photon_slope(pair.science, pair.science_variance, pair.bad)


def photon_slope(data: FloatArray, variance: FloatArray, bad: BoolArray) -> float:
    """Variance that an image claims for each unit of light, beyond the sky's.

    Parameters
    ----------
    data, variance : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels and their variance.
    bad : NDArray[bool], shape (ny, nx)
        Pixels that do not count.

    Returns
    -------
    float
        [data units]; one over the gain where the variance holds the photons of sources, 0 where
        it does not or where fewer than 100 pixels are bright enough to tell.
    """
    step = (slice(None, None, _STEP), slice(None, None, _STEP))
    sky_pixels = variance[step][~bad[step]]
    if len(sky_pixels) == 0:
        return 0.0
    sky = float(np.median(sky_pixels))
    bright = (data > _BRIGHT_SIGMA * np.sqrt(sky)) & ~bad
    light = data[bright]
    if len(light) < _MIN_PIXELS:
        return 0.0
    slope = (variance[bright] - np.float32(sky)) / light
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
    of_science, of_difference, inverse = _spectra(science_psf, difference_psf)
    response = _image(np.abs(of_difference) ** 2 * inverse)
    return float(np.sum(response**2 * _image(np.conj(of_science))))


def unclaimed_variance(science_psf: PsfField, difference_psf: PsfField) -> float:
    """Variance of a new source's flux that its own photons add and pixel variances do not tell.

    Parameters
    ----------
    science_psf, difference_psf : PsfField
        PSFs of the science image and of the difference.

    Returns
    -------
    float
        For unit flux and unit photon slope, of the flux ``sum(P D) / sum(P^2)``; negative where
        the pixels claim too much.

    Notes
    -----
    The filter ``w = P_D / P_S`` that makes a difference white where there is sky correlates the
    photons of a source. They add ``sum(h^2 P_S)`` to the variance of ``sum(P_D D)``
    (``new_source_variance``), and from the variance of independent pixels one would say
    ``sum(P_D^2 (w^2 * P_S))``.
    """
    of_science, of_difference, inverse = _spectra(science_psf, difference_psf)
    profile = _image(of_difference)
    # a PSF's highest frequencies say nothing of the filter, which is flat there
    power = np.abs(of_science) ** 2 / np.abs(of_science).max() ** 2
    response = of_difference * inverse
    edge = (power > _FLAT_POWER) & (power < _FLAT_FROM * _FLAT_POWER)
    if edge.any():
        response = np.where(power > _FLAT_POWER, response, np.median(np.abs(response[edge])))
    spread = np.fft.rfft2(_image(response) ** 2) * of_science
    claimed = float(np.sum(profile**2 * _image(spread)))
    own = new_source_variance(science_psf, difference_psf)
    return (own - claimed) / float(np.sum(profile**2)) ** 2


def _spectra(
    science_psf: PsfField, difference_psf: PsfField
) -> tuple[Spectrum, Spectrum, Spectrum]:
    """Transforms of both PSFs on one grid, and the inverse of the first."""
    own, final = _central(science_psf), _central(difference_psf)
    side = 2 * max(own.shape[0], final.shape[0])
    of_science, of_difference = _spectrum(own, side), _spectrum(final, side)
    power = np.abs(of_science) ** 2
    inverse = np.conj(of_science) / np.maximum(power, _LEAST_POWER * power.max())
    return of_science, of_difference, inverse


def _image(spectrum: Spectrum) -> Float64:
    side = spectrum.shape[0]
    return np.asarray(np.fft.irfft2(spectrum, s=(side, side)))


def _central(psf: PsfField) -> Float64:
    ny, nx = psf.shape
    return np.asarray(psf.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0], dtype=np.float64)


def _spectrum(image: Float64, side: int) -> Spectrum:
    """Transform of an image about its middle pixel."""
    padded = np.zeros((side, side))
    padded[: image.shape[0], : image.shape[1]] = image
    return np.asarray(np.fft.rfft2(np.roll(padded, -(image.shape[0] // 2), axis=(0, 1))))
