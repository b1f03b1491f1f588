"""PSF fluxes at given places of one image, with errors that hold on frames full of sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from astrid_site.imaging.image import Image
from astrid_site.imaging.photometry import cut_psf_stamps, fit_stamp_fluxes

Float64 = NDArray[np.float64]

_N_SIDE = 36
_MIN_POSITIONS = 60
_CLIP_SIGMA = 3.0
_N_CLIPS = 8
#: Lower percentile of a normal distribution at one sigma.
_ONE_SIGMA_BELOW = 15.865


@dataclass(frozen=True)
class PlacedFluxes:
    """Fluxes at the places that lie on an image.

    Attributes
    ----------
    index : NDArray[int64], shape (n,)
        Which of the places asked for.
    flux, flux_error : NDArray[float64], shape (n,)
        In data units; NaN where too much of the PSF is masked or the image has no PSF.
    flags : NDArray[int64], shape (n,)
        ``MaskPlane`` bits of the 5x5 pixels around each place.
    """

    index: NDArray[np.int64]
    flux: Float64
    flux_error: Float64
    flags: NDArray[np.int64]


def measure_places(
    image: Image, places: Sequence[tuple[float, float]], *, wcs: WCS, noise_scale: float
) -> PlacedFluxes:
    """PSF fluxes of an image at sky positions; those off the image are left out.

    Parameters
    ----------
    image : Image
        Background-free, with variance; without a PSF every flux is NaN.
    places : sequence of (ra, dec)
        ICRS degrees.
    wcs : astropy.wcs.WCS
        World coordinates of the pixels, which may be better ones than the image's own.
    noise_scale : float
        Factor on the errors, see ``measure_sky_scale``.

    Returns
    -------
    PlacedFluxes

    Raises
    ------
    ValueError
        If the image has no variance.
    """
    if image.variance is None:
        msg = "image: has no variance"
        raise ValueError(msg)
    ra, dec = np.array(places, dtype=np.float64).reshape(-1, 2).T
    # far off the frame a distorted WCS has no inverse: those come back as NaN and are left out
    x, y = wcs.all_world2pix(ra, dec, 0, quiet=True)
    ny, nx = image.shape
    index = np.flatnonzero((x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5))
    if image.psf is None or len(index) == 0:
        nothing = np.full(len(index), np.nan)
        return PlacedFluxes(index, nothing, nothing, np.zeros(len(index), np.int64))
    stamps = cut_psf_stamps(
        image.data, image.variance, image.psf, mask=image.mask, x=x[index], y=y[index]
    )
    fit = fit_stamp_fluxes(stamps, noise_scale=noise_scale)
    return PlacedFluxes(index, fit.flux, fit.flux_error, fit.flags)


def measure_sky_scale(image: Image) -> float:
    """Scatter of PSF fluxes on the empty sky of a science image, in units of their formal error.

    Parameters
    ----------
    image : Image
        With variance and PSF.

    Returns
    -------
    float
        1 for white noise that the variance describes, and where too little sky is to be had.

    Raises
    ------
    ValueError
        If the image has no variance or no PSF.

    Notes
    -----
    Fluxes are measured on a grid. Sources raise some of them and lower none, so the width is that
    of the lower side, about a median from which what lies three widths above is left out.
    ``measure_noise_scale`` takes both sides, as sources on a difference may have either sign.
    """
    if image.variance is None or image.psf is None:
        msg = "image: has no variance or no PSF"
        raise ValueError(msg)
    ny, nx = image.shape
    half = image.psf.size // 2
    if min(ny, nx) < 2 * image.psf.size:
        return 1.0
    grid_y, grid_x = np.meshgrid(
        np.linspace(half, ny - 1 - half, _N_SIDE).round(),
        np.linspace(half, nx - 1 - half, _N_SIDE).round(),
        indexing="ij",
    )
    stamps = cut_psf_stamps(
        image.data, image.variance, image.psf, mask=image.mask, x=grid_x.ravel(), y=grid_y.ravel()
    )
    fit = fit_stamp_fluxes(stamps)
    pulls = (fit.flux / fit.flux_error)[np.isfinite(fit.flux) & (fit.mask_fraction < 0.01)]
    return _lower_width(pulls)


def _lower_width(pulls: Float64) -> float:
    """Width of the lower side of a distribution whose upper side has a tail; 1 of too few."""
    kept, width = pulls, 1.0
    for _ in range(_N_CLIPS):
        if len(kept) < _MIN_POSITIONS:
            return 1.0
        middle, below = np.percentile(kept, [50.0, _ONE_SIGMA_BELOW])
        width = float(middle - below)
        rest = kept[kept < middle + _CLIP_SIGMA * width]
        if len(rest) == len(kept):
            break
        kept = rest
    return width if width > 0 else 1.0
