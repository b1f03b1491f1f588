"""Positions and total fluxes of the sources of a frame, by its own PSF, neighbours removed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import BoolArray, is_bad
from astrid_site.imaging.psf import PsfField
from preprocessing.algorithms.star_cutouts import (
    Cutouts,
    StarFit,
    cut,
    fit_flux_and_centre,
    shift_cutouts,
)
from preprocessing.algorithms.stars import StarList

Float64 = NDArray[np.float64]

_BATCH = 500
_ROUNDS = 3
_MIN_SNR = 10.0


@dataclass(frozen=True)
class _Fits:
    """Positions [pix], fluxes, flux errors and reduced chi-squared of the fitted sources."""

    x: Float64
    y: Float64
    flux: Float64
    flux_error: Float64
    reduced_chi2: Float64


def fit_star_fluxes(image: Image, stars: StarList, *, max_stars: int = 1000) -> StarList:
    """Replace aperture fluxes and centroids of stars by those of PSF fits.

    Parameters
    ----------
    image : Image
        Background-subtracted frame with variance, mask and PSF.
    stars : StarList
        Its sources, brightest first.
    max_stars : int
        Sources fitted: the clean stars, and where there are fewer, other unsaturated sources by
        brightness. All other fluxes are scaled by the median ratio of PSF to aperture flux, so
        that one list holds one kind of flux.

    Returns
    -------
    StarList
        Same sources in the same order.

    Raises
    ------
    ValueError
        If the image lacks variance or PSF.

    Notes
    -----
    Each source is refitted on what the models of all others leave of the frame until the fluxes
    settle, as crowded-field photometry does.

    References
    ----------
    .. [1] Stetson 1987, PASP 99, 191 (DAOPHOT, iterative subtraction of neighbours).
    """
    if image.variance is None or image.psf is None:
        msg = "image: PSF photometry needs the variance and the PSF"
        raise ValueError(msg)
    fitted = _choose(image, stars, max_stars=max_stars)
    if fitted.size == 0:
        return stars
    fits = _fit_together(image, image.psf, stars.select(fitted))
    return _merge(stars, fitted, fits)


def _choose(image: Image, stars: StarList, *, max_stars: int) -> NDArray[np.intp]:
    """Indices of the sources to fit, rising: clean stars first, then others by brightness."""
    column = np.clip(np.rint(stars.x).astype(int), 0, image.shape[1] - 1)
    row = np.clip(np.rint(stars.y).astype(int), 0, image.shape[0] - 1)
    usable = (stars.snr > _MIN_SNR) & (stars.flux > 0) & ~is_bad(image.mask)[row, column]
    clean = np.flatnonzero(usable & stars.is_star)[:max_stars]
    others = np.flatnonzero(usable & ~stars.is_star)[: max_stars - clean.size]
    return np.sort(np.concatenate([clean, others]))


def _fit_together(image: Image, psf: PsfField, stars: StarList) -> _Fits:
    """Fit all sources, each on the data less the models of all the others."""
    bad = is_bad(image.mask)
    fits = _Fits(stars.x, stars.y, stars.flux, stars.flux_error, np.ones(len(stars)))
    for _ in range(_ROUNDS):
        models = _shifted_psfs(psf, fits.x, fits.y)
        others = _light_of_others(models, fits, reach=_core_half(psf))
        parts = [
            _refit(
                image, psf, fits, models=models, others=others, bad=bad, part=slice(i, i + _BATCH)
            )
            for i in range(0, len(stars), _BATCH)
        ]
        columns = zip(*parts, strict=True)
        fits = _Fits(*(np.concatenate(column) for column in columns))
    # blended centroids start far off; a fit that went farther found another star
    limit = max(1.0, 0.6 * psf.fwhm_pix)
    astray = np.hypot(fits.x - stars.x, fits.y - stars.y) > limit
    return replace(fits, x=np.where(astray, stars.x, fits.x), y=np.where(astray, stars.y, fits.y))


def _shifted_psfs(psf: PsfField, x: Float64, y: Float64) -> NDArray[np.float32]:
    """PSF images at sub-pixel positions, each around its nearest pixel."""
    half = psf.size // 2
    used = _used_half(psf)
    inner = slice(half - used, half + used + 1)
    shifted = np.empty((x.size, 2 * used + 1, 2 * used + 1), dtype=np.float32)
    for i in range(0, x.size, _BATCH):
        part = slice(i, i + _BATCH)
        images = psf.at(x[part], y[part])[:, inner, inner].astype(np.float64)
        dx, dy = x[part] - np.rint(x[part]), y[part] - np.rint(y[part])
        shifted[part] = shift_cutouts(images, dx, dy)
    return shifted


def _used_half(psf: PsfField) -> int:
    """Half width of the PSF images used [pix]; given PSFs may be far larger than needed."""
    return int(min(psf.size // 2, max(8, round(6.0 * psf.fwhm_pix))))


def _core_half(psf: PsfField) -> int:
    """Half width of the core that decides the centre [pix]; wings only bring in neighbours."""
    return int(min(_used_half(psf), max(3, round(1.5 * psf.fwhm_pix))))


def _light_of_others(models: NDArray[np.float32], fits: _Fits, *, reach: int) -> Float64:
    """What all other sources shine on the core of each, shape (n, 2 reach + 1, 2 reach + 1)."""
    half = models.shape[-1] // 2
    pixels = np.rint(np.column_stack([fits.y, fits.x])).astype(np.intp)
    light = np.zeros((len(pixels), 2 * reach + 1, 2 * reach + 1))
    pairs = cKDTree(pixels).query_pairs(half + reach, p=np.inf, output_type="ndarray")
    for one, other in pairs.tolist():
        apart = (pixels[other] - pixels[one]).tolist()
        for index, source, (dy, dx) in (
            (one, other, apart),
            (other, one, (-apart[0], -apart[1])),
        ):
            # the core's first pixel lies at ``half - reach - d`` of the other's model
            y, x = half - reach - dy, half - reach - dx
            rows = slice(max(y, 0), y + 2 * reach + 1)
            columns = slice(max(x, 0), x + 2 * reach + 1)
            part = models[source, rows, columns]
            top, left = max(-y, 0), max(-x, 0)
            here = light[index, top : top + part.shape[0], left : left + part.shape[1]]
            here += part * fits.flux[source]
    return light


def _refit(
    image: Image,
    psf: PsfField,
    fits: _Fits,
    *,
    models: NDArray[np.float32],
    others: Float64,
    bad: BoolArray,
    part: slice,
) -> tuple[Float64, Float64, Float64, Float64, Float64]:
    """New positions, fluxes, errors and chi-squared of one batch."""
    x, y = fits.x[part], fits.y[part]
    half = models.shape[-1] // 2
    reach = _core_half(psf)
    inner = slice(half - reach, half + reach + 1)
    variance = np.asarray(image.variance, dtype=np.float32)
    seen = cut(image.data, variance, bad=bad, x=x, y=y, half=reach)
    model = models[part, inner, inner].astype(np.float64)
    own = seen.data - others[part]
    whole = Cutouts(np.where(seen.weight > 0, own, 0.0), seen.weight, seen.column, seen.row)
    fit: StarFit = fit_flux_and_centre(whole, model, model_error=0.01)
    return x + fit.step_x, y + fit.step_y, fit.flux, fit.flux_error, fit.reduced_chi2


def _merge(stars: StarList, fitted: NDArray[np.intp], fits: _Fits) -> StarList:
    """The list with the fits entered where they are credible, other fluxes on the same scale."""
    ratio = fits.flux / stars.flux[fitted]
    usable = np.isfinite(ratio) & (ratio > 0) & np.isfinite(fits.flux_error)
    if not usable.any():
        return replace(stars, is_star=np.zeros(len(stars), dtype=np.bool_))
    reliable = usable & stars.is_star[fitted]
    scale = float(np.median(ratio[reliable if reliable.any() else usable]))
    # the aperture of a blended star may hold several times its own flux
    credible = usable & (ratio > 0.1 * scale) & (ratio < 3.0 * scale)
    is_star = stars.is_star.copy()
    # PSF and aperture disagree by a factor of two only where the source is no clean star
    is_star[fitted[~credible | (ratio < 0.5 * scale) | (ratio > 2.0 * scale)]] = False
    x, y = stars.x.copy(), stars.y.copy()
    flux, error = stars.flux * scale, stars.flux_error * scale
    index = fitted[credible]
    x[index], y[index] = fits.x[credible], fits.y[credible]
    flux[index], error[index] = fits.flux[credible], fits.flux_error[credible]
    return replace(stars, x=x, y=y, flux=flux, flux_error=error, is_star=is_star)
