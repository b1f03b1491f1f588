"""Fluxes at given places: in number and place what the sky holds, errors that hold in a crowd."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.psf import constant_psf
from catalog.algorithms.flag_words import flag_words
from catalog.algorithms.forced_fluxes import measure_places, measure_sky_scale
from tests.catalog.small_frames import make_image, make_wcs

SIZE = 200


def places(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    ra, dec = make_wcs(size=SIZE).all_pix2world(x, y, 0)
    return list(zip(ra.tolist(), dec.tolist(), strict=True))


def test_fluxes_are_unbiased_and_their_pulls_have_unit_width() -> None:
    rng = np.random.default_rng(1)
    grid = np.arange(12.0, SIZE - 12, 16.0)
    x, y = (axis.ravel() + rng.uniform(-0.5, 0.5, axis.size) for axis in np.meshgrid(grid, grid))
    flux = rng.uniform(5.0, 200.0, x.size)
    image = make_image([2], list(zip(x, y, flux, strict=True)), size=SIZE)
    found = measure_places(image, places(x, y), wcs=image.wcs, noise_scale=1.0)
    assert found.index.tolist() == list(range(x.size))
    pulls = (found.flux - flux) / found.flux_error
    # three standard errors of mean and width of so many
    assert abs(pulls.mean()) < 3.0 / np.sqrt(x.size)
    assert pulls.std() == pytest.approx(1.0, abs=3.0 / np.sqrt(2 * x.size))


def test_the_flux_of_an_extended_host_grows_with_the_seeing() -> None:
    # what pages say of the total flux: a Gaussian host of width g under a PSF of width s gives
    # F 2s^2 / (2s^2 + g^2), and only a point source F
    host, flux, middle = 3.0, 5000.0, 100.0
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] - middle
    stamp = np.mgrid[-15:16, -15:16]
    found = []
    for seed, seeing in enumerate((1.2, 2.4)):
        width = np.hypot(host, seeing)
        light = np.exp(-(rows**2 + columns**2) / (2 * width**2)) / (2 * np.pi * width**2)
        psf = np.exp(-(stamp**2).sum(axis=0) / (2 * seeing**2))
        blank = make_image([9, seed], size=SIZE)
        image = blank.with_(
            data=blank.data + np.float32(flux) * light.astype(np.float32),
            psf=constant_psf((psf / psf.sum()).astype(np.float32), shape=(SIZE, SIZE)),
        )
        at = places(np.array([middle]), np.array([middle]))
        one = measure_places(image, at, wcs=image.wcs, noise_scale=1.0)
        expected = flux * 2 * seeing**2 / (2 * seeing**2 + host**2)
        assert abs(one.flux[0] - expected) < 4.0 * one.flux_error[0]
        found.append(one)
    gained = found[1].flux[0] - found[0].flux[0]
    assert gained > 10.0 * np.hypot(found[0].flux_error[0], found[1].flux_error[0])


def test_places_off_the_image_are_left_out_and_masked_ones_are_nan() -> None:
    image = make_image([3], size=SIZE)
    image.mask[95:106, 95:106] = MaskPlane.SATURATED
    x, y = np.array([-5.0, 100.0, 50.0, 1e5]), np.array([50.0, 100.0, 50.0, 50.0])
    found = measure_places(image, places(x, y), wcs=image.wcs, noise_scale=1.0)
    assert found.index.tolist() == [1, 2]
    assert np.isnan(found.flux).tolist() == [True, False]
    assert found.flags.tolist() == [int(MaskPlane.SATURATED), 0]


def test_an_image_without_a_psf_gives_no_flux_and_one_without_variance_is_refused() -> None:
    image = make_image([4], size=SIZE)
    at = places(np.array([50.0]), np.array([60.0]))
    found = measure_places(image.with_(psf=None), at, wcs=image.wcs, noise_scale=1.0)
    assert np.isnan(found.flux).all()
    with pytest.raises(ValueError, match="variance"):
        measure_places(image.with_(variance=None), at, wcs=image.wcs, noise_scale=1.0)
    for broken in (image.with_(variance=None), image.with_(psf=None)):
        with pytest.raises(ValueError, match="no variance or no PSF"):
            measure_sky_scale(broken)


@pytest.mark.parametrize("noise", [0.7, 1.0, 1.6])
def test_the_sky_scale_is_that_of_the_noise_however_many_stars_there_are(noise: float) -> None:
    rng = np.random.default_rng(5)
    stars = [
        (float(x), float(y), float(flux))
        for x, y, flux in zip(
            *rng.uniform(0, SIZE, (2, 250)), 10 ** rng.uniform(1.5, 4.0, 250), strict=True
        )
    ]
    image = make_image([6], stars, size=SIZE, noise=noise)
    # the variance says 1, whatever the noise is
    image = image.with_(variance=np.ones((SIZE, SIZE), np.float32))
    # wings of stars everywhere widen it a little; never does it fall short
    assert 0.93 * noise < measure_sky_scale(image) < 1.25 * noise


def test_a_frame_smaller_than_two_psfs_has_no_sky_to_measure() -> None:
    assert measure_sky_scale(make_image([7], size=24)) == 1.0


def test_every_flag_has_words_and_an_unknown_one_stays_as_it_is() -> None:
    assert flag_words(["MASKED", "SATURATED", "NEW"]) == [
        "too many pixels masked",
        "saturated beside it",
        "NEW",
    ]
    assert all(words != plane.name for plane in MaskPlane for words in flag_words([plane.name]))
