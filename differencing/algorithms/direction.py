"""Which image to convolve: the one whose PSF is narrower in every direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.psf import PsfField
from differencing.algorithms.kernel_filters import central_psf

FloatArray = NDArray[np.float32]

#: Widths that differ by less than this share count as equal.
_TOLERANCE = 0.04
#: Below this FWHM a kernel between two PSFs is aliased; convolving both first tames it. Pixels
#: sample a Gaussian well from 2.35 on; a space telescope's of 2.1 left 10 % more without. The
#: stars of a resampled template are drawn by their profile wherever the science pixels lie, and
#: convolving both costs more than it tames: 10 % of the stars had a chi2 above 3 to 7, without it
#: above 1.3 to 1.9.
_UNDERSAMPLED_PIX = 2.25
#: Samples per pixel on which widths are measured: on the pixels themselves the weight of a PSF
#: of 1.8 pixels shrinks to nothing.
_SAMPLES = 3
#: A template this much broader at most is sharpened where its pixels are coarser. More would
#: ring beyond any kernel.
_MOST_SHARPENED = 1.35


@dataclass(frozen=True)
class Choice:
    """A direction and the reason for it."""

    direction: Literal["template", "science", "cross"]
    reason: str


def choose_direction(
    science: PsfField,
    template: PsfField,
    *,
    is_resampled: bool = False,
    lacks_frequencies: bool = False,
) -> Choice:
    """Choose the image that a kernel can convolve without sharpening anything.

    Convolving the broader image would deconvolve it and raise its noise; where each image is
    the broader one in some direction, each is first convolved with the other's PSF.

    Parameters
    ----------
    science, template : PsfField
        PSFs of the two images on one grid.
    is_resampled : bool
        Whether the template was resampled onto the science image's pixels.
    lacks_frequencies : bool
        Whether it comes from coarser pixels, which have no noise at the finest
        frequencies of this grid. A smoothed science image would have none there, either, and no
        filter makes white what is not there: the neighbours of such a difference are correlated
        by 0.3. Sharpening the template then costs no more noise than it has.
    """
    stated = f"FWHM {science.fwhm_pix:.2f} pix science, {template.fwhm_pix:.2f} pix template"
    if lacks_frequencies and template.fwhm_pix <= _MOST_SHARPENED * science.fwhm_pix:
        return Choice("template", f"the template's pixels are coarser ({stated})")
    if is_undersampled(science, template) and not is_resampled:
        narrowest = min(science.fwhm_pix, template.fwhm_pix)
        return Choice("cross", f"a PSF of FWHM {narrowest:.2f} pix is undersampled")
    widths = [directional_widths(central_psf(psf)) for psf in (science, template)]
    ratio = widths[0] / widths[1]
    if (ratio >= 1.0 - _TOLERANCE).all():
        return Choice("template", f"the template is the sharper image ({stated})")
    if (ratio <= 1.0 + _TOLERANCE).all():
        return Choice("science", f"the science image is the sharper one ({stated})")
    return Choice("cross", f"each image is the sharper one in some direction ({stated})")


def is_undersampled(science: PsfField, template: PsfField) -> bool:
    """Whether the finest frequencies of an image are aliased, so that no kernel matches them."""
    return min(science.fwhm_pix, template.fwhm_pix) < _UNDERSAMPLED_PIX


def directional_widths(psf: FloatArray) -> NDArray[np.float64]:
    """Gaussian-weighted rms width of a PSF along eight directions, in pixels."""
    fine = _finer(psf)
    offset = (np.arange(fine.shape[0]) - fine.shape[0] // 2) / _SAMPLES
    x, y = np.meshgrid(offset, offset)
    covariance = np.eye(2) * 2.0
    for _ in range(30):
        inverse = np.linalg.inv(covariance)
        form = inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2
        weight = np.exp(-0.5 * form) * fine
        moments = [float((weight * part).sum() / weight.sum()) for part in (x * x, x * y, y * y)]
        # the weight halves the variance of a Gaussian, so twice the moments is its fixed point
        covariance = 2.0 * np.array([[moments[0], moments[1]], [moments[1], moments[2]]])
    angles = np.arange(8) * np.pi / 8
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(np.sqrt(np.einsum("ni,ij,nj->n", unit, covariance, unit)))


def _finer(psf: FloatArray) -> NDArray[np.float64]:
    """A PSF of odd size on ``_SAMPLES`` times as many pixels, about its middle one."""
    size, half = psf.shape[0], psf.shape[0] // 2
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(psf)))
    padded = np.zeros((_SAMPLES * size, _SAMPLES * size), dtype=complex)
    start = _SAMPLES * size // 2 - half
    padded[start : start + size, start : start + size] = spectrum
    return np.asarray(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(padded))).real)
