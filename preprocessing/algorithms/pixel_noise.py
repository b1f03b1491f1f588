"""The noise that single pixels have for themselves, apart from all light that a PSF has spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from astrid_site.imaging.masks import BoolArray
from astrid_site.imaging.moffat import Moffat

FloatArray = NDArray[np.float32]

#: Second and first differences along an axis, each with a sum of squares of 1.
_SECOND = np.array([1.0, -2.0, 1.0]) / np.sqrt(6.0)
_FIRST = np.array([-1.0, 1.0]) / np.sqrt(2.0)
#: Resampling lowers the finest structure most: white noise has the same width under both filters.
_LEAST_FLATNESS = 0.95
#: A PSF that reaches the finest structure by more cannot be told from noise there.
_MOST_LEAK = 0.1
_MIN_PIXELS = 2000


def white_noise_variance(
    pulls: FloatArray, used: BoolArray, *, psf: Moffat, total: float
) -> float | None:
    """Variance of white noise under starlight, from structure finer than the PSF.

    Parameters
    ----------
    pulls : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels over their noise.
    used : NDArray[bool], shape (ny, nx)
        Pixels of the sky.
    psf : Moffat
        The PSF.
    total : float
        Variance of the sky's pulls, starlight included.

    Returns
    -------
    float or None
        In units of the square of ``pulls``; None where the noise is correlated, as that of a
        resampled frame is, or the PSF is too sharp.

    Notes
    -----
    Second differences along both axes see what varies from pixel to pixel. Starlight of variance
    ``total`` less that of the noise reaches them by the leak of the PSF, which is taken off.
    """
    fine, n_fine = _width(pulls, used, _SECOND)
    coarser, n_coarser = _width(pulls, used, _FIRST)
    if min(n_fine, n_coarser) < _MIN_PIXELS:
        return None
    leak, leak_coarser = _leak(psf, _SECOND), _leak(psf, _FIRST)
    if leak > _MOST_LEAK:
        return None
    noise = (fine**2 - leak * total) / (1.0 - leak)
    starlight = max(total - noise, 0.0)
    # both filters see the noise by the same width and the starlight each by its own leak
    flatness = noise / max(coarser**2 - leak_coarser * starlight, 1e-30)
    return float(noise) if noise > 0.0 and flatness**0.5 > _LEAST_FLATNESS else None


def _width(pulls: FloatArray, used: BoolArray, kernel: NDArray[np.float64]) -> tuple[float, int]:
    """Robust width of a field filtered along both axes, and the pixels that tell it."""
    filtered = correlate1d(correlate1d(pulls, kernel, axis=0), kernel, axis=1)
    touched = np.ones(len(kernel), dtype=np.float32)
    whole = correlate1d(correlate1d(used.astype(np.float32), touched, axis=0), touched, axis=1)
    values = filtered[whole > len(kernel) ** 2 - 0.5]
    if values.size < _MIN_PIXELS:
        return 0.0, int(values.size)
    return 1.4826 * float(np.median(np.abs(values))), int(values.size)


def _leak(psf: Moffat, kernel: NDArray[np.float64]) -> float:
    """Variance that starlight of unit variance keeps under a filter along both axes."""
    light = psf.cutouts(np.zeros(1), np.zeros(1), half=int(np.ceil(4 * psf.fwhm)))[0]
    filtered = correlate1d(correlate1d(light, kernel, axis=0), kernel, axis=1)
    return float((filtered**2).sum() / (light**2).sum())
