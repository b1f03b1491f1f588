"""The residual map of the PSF: quiet where the PSF is right, and telling where it is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.moffat import moffat_of_fwhm
from astrid_site.imaging.psf import constant_psf
from preprocessing.algorithms.psf_fit import fit_psf
from preprocessing.algorithms.psf_residuals import measure_psf_residuals
from preprocessing.algorithms.star_photometry import fit_star_fluxes
from preprocessing.algorithms.stars import StarList, find_stars

SKY = 200.0


def star_list(field, image, *, is_star=None):
    """The true sources of a field, as perfect photometry would list them."""
    peak = field.flux * 0.1
    error = np.sqrt(field.flux / image.gain + 30 * field.sky_sigma**2)
    order = np.argsort(-field.flux)
    chosen = np.ones(field.x.size, bool) if is_star is None else is_star
    stars = StarList(field.x, field.y, field.flux, error, peak, chosen)
    return stars.select(order)


def calibrated(field, *, fwhm=3.0):
    """The frame with its sky off, its true variance, and a Moffat of some width as PSF."""
    image = field.image
    psf = moffat_of_fwhm(fwhm).cutouts(np.zeros(1), np.zeros(1), half=12)[0]
    return image.with_(
        data=image.data - np.float32(SKY),
        variance=((field.light + SKY) / image.gain + (5.0 / image.gain) ** 2).astype(np.float32),
        psf=constant_psf(psf.astype(np.float32), shape=image.shape),
    )


@pytest.fixture(scope="module")
def field(make_field):
    return make_field(n_stars=120, flux_range=(2e4, 2e5), sky=SKY, seed=4)


def test_the_true_psf_leaves_nothing_in_any_part_of_the_frame(field):
    image = calibrated(field)
    found = measure_psf_residuals(image, star_list(field, image))
    assert found.n_stars.sum() == 120
    # the largest of some 30 pixels of noise lies at 2 to 4 sigma
    assert (np.abs(found.largest) < 4.5 * found.error).all()
    assert (found.error < 1.0).all()


@pytest.mark.parametrize(("fwhm", "sign"), [(2.8, -1), (3.2, 1)])
def test_a_psf_of_the_wrong_width_shows_with_its_sign(field, fwhm, sign):
    image = calibrated(field, fwhm=fwhm)
    found = measure_psf_residuals(image, star_list(field, image))
    half = found.images.shape[-1] // 2
    centre = found.images[:, half, half]
    # the peak of a Moffat goes with the inverse square of its width: 13 % for 7 %
    assert (sign * centre > 9).all()
    assert (sign * found.largest > 9).all()


def test_a_departure_in_one_corner_is_seen_there_alone(field, make_field):
    wide = make_field(x=field.x, y=field.y, flux=field.flux, fwhm=3.3, sky=SKY, n_stars=120, seed=4)
    image = calibrated(field)
    data = image.data.copy()
    data[256:, 256:] = wide.image.data[256:, 256:] - np.float32(SKY)
    found = measure_psf_residuals(image.with_(data=data), star_list(field, image))
    assert int(np.argmax(np.abs(found.largest))) == 8
    assert np.abs(found.largest[8]) > 10
    assert (np.abs(found.largest[[0, 1, 3]]) < 2).all()


def test_neighbours_do_not_pass_for_a_wrong_psf(make_field):
    crowded = make_field(n_stars=900, flux_range=(2e4, 2e5), sky=SKY, seed=5)
    image = calibrated(crowded)
    found = measure_psf_residuals(image, star_list(crowded, image))
    assert (np.abs(found.largest) < 2.0).all()


def test_parts_without_stars_are_empty_and_say_so(field):
    image = calibrated(field)
    stars = star_list(field, image)
    left = replace(stars, is_star=stars.x < 200)
    found = measure_psf_residuals(image, left)
    assert (found.n_stars[[2, 5, 8]] == 0).all()
    assert np.isnan(found.largest[[2, 5, 8]]).all()
    assert np.isnan(found.images[[2, 5, 8]]).all()
    assert np.isfinite(found.images[[0, 3, 6]]).all()


def test_a_frame_with_a_psf_and_no_star_has_an_empty_map(field):
    image = calibrated(field)
    stars = star_list(field, image)
    found = measure_psf_residuals(image, replace(stars, is_star=np.zeros(len(stars), bool)))
    assert not found.n_stars.any()
    assert np.isnan(found.images).all()
    none = measure_psf_residuals(image, stars.select(np.zeros(len(stars), bool)))
    assert not none.n_stars.any()


def test_a_frame_without_psf_has_no_residuals(field):
    image = calibrated(field)
    with pytest.raises(ValueError, match="PSF"):
        measure_psf_residuals(image.with_(psf=None), star_list(field, image))


def test_galaxies_that_outnumber_the_stars_leave_psf_and_residuals_quiet(make_field):
    mixed = make_field(n_stars=60, n_galaxies=120, flux_range=(8e3, 2e5), sky=SKY, seed=12)
    image = calibrated(mixed).with_(psf=None)
    stars = find_stars(image)
    image = image.with_(psf=fit_psf(image, stars))
    found = measure_psf_residuals(image, fit_star_fluxes(image, stars))
    assert found.n_stars.sum() > 25
    # a galaxy half as wide again as the PSF would leave 50 % of its peak
    assert np.nanmax(np.abs(found.largest)) < 5.0
