"""Positions and total fluxes of the sources of a frame, by its own PSF."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad
from preprocessing.algorithms.star_cutouts import cut, fit_flux_and_centre, shift_cutouts
from preprocessing.algorithms.stars import StarList

Float64 = NDArray[np.float64]

_BATCH = 500


def fit_star_fluxes(image: Image, stars: StarList, *, max_stars: int = 3000) -> StarList:
    """Replace aperture fluxes and centroids of the clean stars by those of PSF fits.

    Parameters
    ----------
    image : Image
        Background-subtracted frame with variance, mask and PSF.
    stars : StarList
        Its sources, brightest first.
    max_stars : int
        Clean stars fitted; the fluxes of all other sources are scaled by the median ratio of
        PSF to aperture flux, so that one list holds one kind of flux.

    Returns
    -------
    StarList
        Same sources in the same order.

    Raises
    ------
    ValueError
        If the image lacks variance or PSF.
    """
    if image.variance is None or image.psf is None:
        msg = "image: PSF photometry needs the variance and the PSF"
        raise ValueError(msg)
    fitted = np.flatnonzero(stars.is_star)[:max_stars]
    if fitted.size == 0:
        return stars
    x, y = stars.x.copy(), stars.y.copy()
    flux, error = stars.flux.copy(), stars.flux_error.copy()
    for first in range(0, fitted.size, _BATCH):
        index = fitted[first : first + _BATCH]
        x[index], y[index], flux[index], error[index] = _fit_batch(
            image, stars.x[index], stars.y[index]
        )
    ratio = flux[fitted] / stars.flux[fitted]
    good = np.isfinite(ratio) & (ratio > 0)
    if good.any():
        others = np.ones(len(stars), dtype=np.bool_)
        others[fitted] = False
        scale = float(np.median(ratio[good]))
        flux[others] *= scale
        error[others] *= scale
    failed = fitted[~(np.isfinite(ratio) & (ratio > 0.5) & (ratio < 2.0))]
    is_star = stars.is_star.copy()
    # PSF and aperture disagree by a factor of two only where the source is no clean star
    is_star[failed] = False
    return replace(stars, x=x, y=y, flux=flux, flux_error=error, is_star=is_star)


def _fit_batch(image: Image, x: Float64, y: Float64) -> tuple[Float64, Float64, Float64, Float64]:
    """Positions, fluxes and flux errors of PSF fits started at (x, y)."""
    if image.variance is None or image.psf is None:
        msg = "image: PSF photometry needs the variance and the PSF"
        raise ValueError(msg)
    images = image.psf.at(x, y).astype(np.float64)
    half = images.shape[-1] // 2
    fwhm = image.psf.fwhm_pix
    # the core decides the centre; far wings only bring in neighbours
    reach = int(min(half, max(3, round(1.5 * fwhm))))
    inner = slice(half - reach, half + reach + 1)
    cutouts = cut(image.data, image.variance, bad=is_bad(image.mask), x=x, y=y, half=reach)
    dx, dy = x - cutouts.column, y - cutouts.row
    for _ in range(3):
        model = shift_cutouts(images, dx, dy)[:, inner, inner]
        fit = fit_flux_and_centre(cutouts, model, model_error=0.01)
        dx, dy = dx + fit.step_x, dy + fit.step_y
    astray = np.hypot(cutouts.column + dx - x, cutouts.row + dy - y) > 1.0
    dx, dy = np.where(astray, x - cutouts.column, dx), np.where(astray, y - cutouts.row, dy)
    return cutouts.column + dx, cutouts.row + dy, fit.flux, fit.flux_error
