"""The PSF field against the true PSF."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.moffat import moffat_of_fwhm
from astrid_site.imaging.psf import measure_fwhm
from preprocessing.algorithms.psf_fit import fit_psf
from preprocessing.algorithms.star_photometry import fit_star_fluxes
from preprocessing.algorithms.stars import find_stars


def relative_error(found, true):
    """Root sum square difference of unit-sum PSF images over that of the true one."""
    half = min(found.shape[0], true.shape[0]) // 2
    a, b = (
        image[(c := image.shape[0] // 2) - half : c + half + 1, c - half : c + half + 1]
        for image in (found, true)
    )
    a, b = a / a.sum(), b / b.sum()
    return float(np.sqrt(((a - b) ** 2).sum() / (b**2).sum()))


@pytest.fixture(scope="module")
def fitted(pair):
    image = pair.calibrated_science().with_(psf=None)
    stars = find_stars(image)
    return fit_psf(image, stars), stars, image


def test_the_psf_is_the_true_one_all_over_the_frame(pair, fitted):
    psf, _, _ = fitted
    ny, nx = pair.science.shape
    for x, y in ((0.5 * nx, 0.5 * ny), (0.15 * nx, 0.15 * ny), (0.85 * nx, 0.8 * ny)):
        # 80 stars of median S/N 60 fix a pixel of the core to about 1 %
        assert relative_error(psf.at(x, y)[0], pair.science_psf.at(x, y)[0]) < 0.045


def test_the_seeing_comes_back_within_five_per_cent(pair, fitted):
    assert fitted[0].fwhm_pix == pytest.approx(pair.science_psf.fwhm_pix, rel=0.05)


def test_the_psf_is_centred(fitted):
    image = fitted[0].at(100.0, 100.0)[0].astype(np.float64)
    half = image.shape[0] // 2
    axis = np.arange(-half, half + 1)
    weight = image * np.exp(-(axis[:, None] ** 2 + axis**2) / 8.0)
    assert abs((weight * axis).sum() / weight.sum()) < 0.02
    assert abs((weight * axis[:, None]).sum() / weight.sum()) < 0.02


def test_the_order_follows_the_number_of_stars(make_field):
    for n_stars, order in ((16, 0), (60, 1), (150, 2)):
        field = make_field(n_stars=n_stars, flux_range=(5000.0, 2e5), seed=n_stars)
        image = _calibrated(field)
        assert fit_psf(image, find_stars(image)).order == order


@pytest.mark.parametrize("fwhm", [1.8, 2.5, 4.0, 6.5])
def test_the_width_is_right_from_undersampled_to_wide(make_field, fwhm):
    field = make_field(fwhm=fwhm, n_stars=60, flux_range=(5000.0, 3e5), seed=11)
    image = _calibrated(field)
    psf = fit_psf(image, find_stars(image))
    true = moffat_of_fwhm(fwhm).cutouts(np.zeros(1), np.zeros(1), half=psf.size // 2)[0]
    assert psf.fwhm_pix == pytest.approx(fwhm, rel=0.05)
    assert relative_error(psf.at(190.0, 190.0)[0], true) < 0.05


def test_galaxies_that_outnumber_the_stars_do_not_widen_the_psf(make_field):
    field = make_field(n_stars=40, n_galaxies=120, flux_range=(5000.0, 2e5), seed=12)
    image = _calibrated(field)
    assert fit_psf(image, find_stars(image)).fwhm_pix == pytest.approx(3.0, rel=0.05)


def test_too_few_stars_are_refused_with_their_number(make_field):
    field = make_field(n_stars=3, flux_range=(2e4, 1e5), seed=13)
    image = _calibrated(field)
    with pytest.raises(AlgorithmError, match="too few clean stars") as caught:
        fit_psf(image, find_stars(image))
    assert caught.value.numbers["n_required"] == 5
    assert caught.value.numbers["n_stars"] <= 3


def test_psf_fluxes_and_positions_are_right_within_their_errors(make_field):
    field = make_field(n_stars=80, flux_range=(2000.0, 2e5), seed=14)
    image = _calibrated(field)
    stars = find_stars(image)
    image = image.with_(psf=fit_psf(image, stars))
    fits = fit_star_fluxes(image, stars)
    clean = fits.select(fits.is_star & (fits.snr > 30))
    separation = np.hypot(clean.x[:, None] - field.x, clean.y[:, None] - field.y)
    true = separation.argmin(axis=1)
    ratio = clean.flux / field.flux[true]
    # wings beyond the PSF image hold 1 to 2 % of a Moffat's flux
    assert np.median(ratio) == pytest.approx(0.99, abs=0.015)
    assert np.median(separation.min(axis=1) * clean.snr) < 3.0


def test_neighbours_do_not_bias_psf_fluxes(make_field):
    x, y = (v.ravel() for v in np.meshgrid(np.arange(25.0, 370, 40), np.arange(25.0, 370, 40)))
    x, y = x + 0.3, y - 0.2
    close_x, close_y = x[::3] + 5.0, y[::3]
    flux = np.concatenate([np.full(x.size, 4e4), np.full(close_x.size, 2e4)])
    field = make_field(
        x=np.concatenate([x, close_x]), y=np.concatenate([y, close_y]), flux=flux, seed=15
    )
    image = _calibrated(field)
    stars = find_stars(image, fwhm_guess_pix=3.0)
    fits = fit_star_fluxes(image.with_(psf=fit_psf(image, stars)), stars)
    distance = np.hypot(fits.x[:, None] - close_x, fits.y[:, None] - close_y)
    found = fits.select(distance.argmin(axis=0))
    assert distance.min(axis=0).max() < 0.1
    assert np.median(found.flux) == pytest.approx(2e4, rel=0.03)


def test_the_fwhm_of_a_narrow_gaussian_is_exact():
    axis = np.arange(-10, 11)
    for fwhm in (2.0, 3.0, 5.5):
        sigma = fwhm / 2.35482
        image = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * sigma**2)).astype(np.float32)
        assert measure_fwhm(image) == pytest.approx(fwhm, rel=0.015)


def _calibrated(field):
    variance = field.sky_sigma**2 + np.maximum(field.light, 0) / 2.0
    return field.image.with_(
        data=field.image.data - np.float32(200), variance=variance.astype(np.float32)
    )
