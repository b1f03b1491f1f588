"""How good a calibrated frame is: depth, seeing, shape of the PSF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import NDArray

from astrid_site.imaging.psf import PsfField

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Depth:
    """Faintest point source a frame shows.

    Attributes
    ----------
    flux_5sigma : float
        Flux of a point source at five times its error on blank sky [data units].
    magnitude : float or None
        The same as AB magnitude; None without a zero point.
    """

    flux_5sigma: float
    magnitude: float | None


def measure_depth(psf: PsfField, *, noise: float, zero_point: float | None) -> Depth:
    """Five-sigma limit for PSF photometry on blank sky at the centre of a frame.

    Parameters
    ----------
    psf : PsfField
        PSF of the frame.
    noise : float
        Standard deviation of a sky pixel [data units].
    zero_point : float or None
        AB magnitude of one data unit.

    Returns
    -------
    Depth

    References
    ----------
    .. [1] Zackay & Ofek 2017, ApJ 836, 187, eq. 11: sigma_flux = sigma / sqrt(sum P^2).
    """
    ny, nx = psf.shape
    centre = psf.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0].astype(np.float64)
    flux = 5.0 * noise / float(np.sqrt((centre**2).sum()))
    magnitude = None if zero_point is None else float(zero_point - 2.5 * np.log10(flux))
    return Depth(flux, magnitude)


def measure_ellipticity(psf: FloatArray, *, fwhm_pix: float) -> float:
    """Ellipticity 1 - b/a of a PSF image, from moments under a Gaussian of the same width.

    The weight halves every second moment of a round Gaussian and rounds a flattened one; the
    weighting is undone for Gaussian shapes (inverse covariances subtract).
    """
    half = psf.shape[0] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    sigma2 = (fwhm_pix / 2.3548) ** 2
    weighted = psf * np.exp(-(x**2 + y**2) / (2.0 * sigma2))
    total = weighted.sum()
    x0, y0 = (weighted * x).sum() / total, (weighted * y).sum() / total
    xx = (weighted * (x - x0) ** 2).sum() / total
    yy = (weighted * (y - y0) ** 2).sum() / total
    xy = (weighted * (x - x0) * (y - y0)).sum() / total
    inverse = np.linalg.inv(np.array([[xx, xy], [xy, yy]])) - np.eye(2) / sigma2
    small, large = np.linalg.eigvalsh(inverse)
    if small <= 0:
        return 1.0
    return float(1.0 - np.sqrt(small / large))


def pixel_scale_arcsec(wcs: WCS | None) -> float | None:
    """Geometric mean pixel scale [arcsec], or None without world coordinates."""
    if wcs is None:
        return None
    scales = proj_plane_pixel_scales(wcs.celestial)
    scale = float(np.sqrt(scales[0] * scales[1])) * 3600.0
    return scale if np.isfinite(scale) and scale > 0 else None
