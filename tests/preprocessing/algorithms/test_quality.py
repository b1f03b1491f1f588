"""Depth, ellipticity, pixel scale."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from astrid_site.imaging.moffat import Moffat
from astrid_site.imaging.psf import constant_psf
from preprocessing.algorithms.quality import (
    measure_depth,
    measure_ellipticity,
    pixel_scale_arcsec,
)


def gaussian(sigma_x, sigma_y, half=20):
    axis = np.arange(-half, half + 1)
    return np.exp(-(axis**2) / (2 * sigma_x**2) - axis[:, None] ** 2 / (2 * sigma_y**2))


def test_the_depth_of_a_gaussian_psf_is_the_closed_form():
    sigma = 1.8
    psf = constant_psf(gaussian(sigma, sigma).astype(np.float32), shape=(100, 100))
    depth = measure_depth(psf, noise=4.0, zero_point=25.0)
    # sum P^2 of a Gaussian is 1 / (4 pi sigma^2)
    expected = 5 * 4.0 * 2 * sigma * np.sqrt(np.pi)
    assert depth.flux_5sigma == pytest.approx(expected, rel=1e-3)
    assert depth.magnitude == pytest.approx(25.0 - 2.5 * np.log10(expected), abs=1e-3)


def test_without_a_zero_point_there_is_no_limiting_magnitude():
    psf = constant_psf(gaussian(1.5, 1.5).astype(np.float32), shape=(50, 50))
    assert measure_depth(psf, noise=1.0, zero_point=None).magnitude is None


def test_ellipticity_is_one_minus_the_axis_ratio():
    image = gaussian(2.0, 1.6).astype(np.float32)
    assert measure_ellipticity(image, fwhm_pix=4.2) == pytest.approx(0.2, abs=0.01)
    round_star = Moffat(3.0, 3.0).cutouts(np.zeros(1), np.zeros(1), half=15)[0]
    assert measure_ellipticity(round_star.astype(np.float32), fwhm_pix=3.0) < 0.01


def test_the_pixel_scale_is_the_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cd = np.array([[-0.4, 0.0], [0.0, 0.4]]) / 3600
    assert pixel_scale_arcsec(wcs) == pytest.approx(0.4, rel=1e-6)
    assert pixel_scale_arcsec(None) is None
