"""Variance of every pixel: the measured sky, and source photon noise through the gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid_site.imaging.image import Image
from preprocessing.algorithms.background import Background

FloatArray = NDArray[np.float32]

# a sky this many sigma above zero is a real photon count and not a subtracted residual
_MIN_SKY_SIGNIFICANCE = 3.0


@dataclass(frozen=True)
class GainEstimate:
    """Gain used for source photon noise.

    Attributes
    ----------
    gain : float or None
        Electrons per data unit; None where nothing tells it.
    source : str
        ``"header"``, ``"photon_transfer"`` (estimated from the sky) or ``"sky_only"`` (unknown:
        the variance then has no source term).
    """

    gain: float | None
    source: str


def estimate_gain(image: Image, background: Background) -> GainEstimate:
    """Gain from the image, else from the photon noise of its own sky.

    Parameters
    ----------
    image : Image
        Frame before background subtraction.
    background : Background
        Its sky; level and noise in the same units.

    Returns
    -------
    GainEstimate

    Notes
    -----
    A sky of level S and variance v gives ``g = (S + sqrt(S^2 + 4 v R^2)) / (2 v)`` for a read
    noise R [electrons], the positive root of ``v = S / g + (R / g)^2``. An unremoved bias in S
    makes g too large, hence the recorded source.

    References
    ----------
    .. [1] Janesick 2001, Scientific Charge-Coupled Devices, eq. 2.11 (photon transfer).
    """
    if image.gain is not None and np.isfinite(image.gain) and image.gain > 0:
        return GainEstimate(float(image.gain), "header")
    level, noise = background.median, background.noise
    if level < _MIN_SKY_SIGNIFICANCE * noise:
        return GainEstimate(None, "sky_only")
    variance = noise**2
    read_noise = image.read_noise or 0.0
    root = np.sqrt(level**2 + 4.0 * variance * read_noise**2)
    return GainEstimate(float((level + root) / (2.0 * variance)), "photon_transfer")


def build_variance(
    data: FloatArray, background: Background, *, gain: float | None, fwhm_pix: float = 2.5
) -> FloatArray:
    """Variance of a background-subtracted frame.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels.
    background : Background
        Its measured sky noise.
    gain : float or None
        Electrons per data unit; None leaves the photon noise of sources out.
    fwhm_pix : float
        Width of the PSF [pix], which limits how far source flux may be smoothed.

    Returns
    -------
    NDArray[float32], shape (ny, nx)
        Variance in squared data units; positive everywhere.

    Notes
    -----
    The photon noise uses an estimate of the source flux and not the pixel itself: a positive
    sky fluctuation must not enlarge its own variance, or blank-sky pulls are narrower than 1.
    """
    variance = background.noise_map**2
    if gain is None:
        return variance
    return variance + source_flux(data, background.noise_map, fwhm_pix=fwhm_pix) / np.float32(gain)


def source_flux(data: FloatArray, noise: FloatArray, *, fwhm_pix: float) -> FloatArray:
    """Non-negative source flux per pixel, zero on blank sky; smoothed where it is faint.

    Parameters
    ----------
    data, noise : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels and their sky noise, same units.
    fwhm_pix : float
        Width of the PSF [pix].
    """
    sigma = max(0.5, 0.25 * fwhm_pix)
    smooth = ndimage.gaussian_filter(data, sigma, truncate=3.0)
    smooth_noise = noise * np.float32(1.0 / (2.0 * sigma * np.sqrt(np.pi)))
    flux = np.where(smooth > 3.0 * smooth_noise, smooth, np.float32(0))
    flux = np.where((data > 8.0 * noise) & (smooth > 3.0 * smooth_noise), data, flux)
    return np.maximum(flux, np.float32(0))
