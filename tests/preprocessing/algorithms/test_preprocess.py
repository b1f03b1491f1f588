"""The whole calibration of a frame, its refusals, and real frames."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.fits_io import read_image, read_plane
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.psf import constant_psf
from preprocessing.algorithms.preprocess import PreprocessConfig, preprocess_image
from preprocessing.algorithms.psf_fit import missing_psf
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.warp import warp

METRICS = {
    "sky_level",
    "sky_noise",
    "gain_used",
    "gain_source",
    "seeing_arcsec",
    "fwhm_pix",
    "ellipticity",
    "n_stars",
    "n_cosmic_rays",
    "masked_fraction",
    "zero_point",
    "zero_point_source",
    "limiting_flux_5sigma",
    "limiting_magnitude",
    "pixel_scale_arcsec",
}


@pytest.fixture(scope="module")
def science(raw_science):
    return preprocess_image(raw_science)


@pytest.fixture(scope="module")
def reference(raw_reference):
    return preprocess_image(raw_reference)


def noise_frame(shape=(200, 200), **changes):
    data = np.random.default_rng(1).normal(100, 5, shape).astype(np.float32)
    return Image(data=data, mask=np.zeros(shape, dtype=np.uint16), gain=2.0).with_(**changes)


def test_a_raw_frame_becomes_a_calibrated_one(pair, science):
    assert set(science.metrics) >= METRICS
    assert science.image.variance is not None
    assert science.image.psf is not None
    assert science.metrics["fwhm_pix"] == pytest.approx(pair.science_psf.fwhm_pix, rel=0.05)
    good = ~is_bad(science.image.mask) & ~is_bad(pair.science.mask)
    sky_error = (science.background.level - pair.science_sky)[good]
    assert abs(np.median(sky_error)) < 0.1 * science.background.noise
    assert science.metrics["zero_point_source"] == "header"


def test_the_variance_is_the_true_one(pair, science):
    good = ~is_bad(science.image.mask) & ~is_bad(pair.science.mask)
    ratio = (science.image.variance / pair.science_variance)[good]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.03)
    bright = good & (pair.science_variance > 4 * np.median(pair.science_variance))
    # where the source rules, a pixel's own noise enters its variance estimate
    found = (science.image.variance / pair.science_variance)[bright]
    assert np.median(found) == pytest.approx(1.0, abs=0.06)


def test_cosmic_rays_are_masked_and_stars_are_not(pair, science):
    truth = is_bad(pair.science.mask, MaskPlane.COSMIC_RAY)
    found = is_bad(science.image.mask, MaskPlane.COSMIC_RAY)
    significance = science.image.data / np.sqrt(science.image.variance)
    strong = truth & (significance > 10)
    assert (found & strong).sum() >= 0.9 * strong.sum()
    bright = pair.calibrated_science().data > 30 * science.background.noise
    clean_star = bright & (pair.science.mask == 0)
    near_defect = is_bad(pair.science.mask)
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            near_defect = near_defect | np.roll(near_defect, step, axis=axis)
    assert not (found & clean_star & ~near_defect).any()


def test_two_frames_register_to_a_fiftieth_of_a_pixel(pair, science, reference):
    found = register(reference.image, reference.stars, science.image, science_stars=science.stars)
    x, y = np.array(pair.truth["x"]), np.array(pair.truth["y"])
    got_x, got_y = found.to_reference(x, y)
    miss = np.hypot(got_x - pair.truth["x_reference"], got_y - pair.truth["y_reference"])
    assert found.method == "wcs+stars"
    assert found.rms_pix is not None
    assert found.rms_pix < 0.03
    assert np.median(miss) < 0.02
    assert found.flux_ratio == pytest.approx(pair.flux_ratio, rel=0.015)


def test_the_warped_reference_shows_the_stars_where_the_science_frame_does(science, reference):
    found = register(reference.image, reference.stars, science.image, science_stars=science.stars)
    warped = warp(reference.image, found, shape=science.image.shape)
    stars = science.stars.select(science.stars.is_star & (science.stars.snr > 50))
    column, row = np.rint(stars.x).astype(int), np.rint(stars.y).astype(int)
    seen = warped.mask[row, column] == 0
    significance = warped.data[row, column] / np.sqrt(warped.variance[row, column])
    assert seen.mean() > 0.8
    assert (significance[seen] > 10).mean() > 0.98


def test_a_background_subtracted_frame_without_gain_is_calibrated(raw_science):
    sky = np.float32(np.median(raw_science.data))
    flat = raw_science.with_(data=raw_science.data - sky, gain=None, saturation=None)
    done = preprocess_image(flat)
    assert done.metrics["gain_source"] == "sky_only"
    assert any("no photon noise" in note for note in done.notes)


def test_given_psf_and_variance_are_used(pair, raw_science):
    variance = pair.science_variance.copy()
    variance[0, 0] = 0.0
    done = preprocess_image(raw_science, given_psf=pair.science_psf, given_variance=variance)
    assert done.image.psf is pair.science_psf
    assert np.array_equal(done.image.variance[1:], variance[1:])
    assert is_bad(done.image.mask, MaskPlane.NO_DATA)[0, 0]
    assert done.metrics["gain_source"] == "given_variance"


def test_a_given_mask_is_added(raw_science):
    extra = np.zeros(raw_science.shape, dtype=np.uint16)
    extra[100:120, 100:120] = MaskPlane.USER
    done = preprocess_image(raw_science, given_mask=extra)
    assert is_bad(done.image.mask, MaskPlane.USER)[110, 110]


def test_nan_pixels_become_no_data(raw_science):
    data = raw_science.data.copy()
    data[50:60, 50:60] = np.nan
    done = preprocess_image(raw_science.with_(data=data))
    assert is_bad(done.image.mask, MaskPlane.NO_DATA)[55, 55]
    assert np.isfinite(done.image.data).all()
    assert np.isfinite(done.image.variance).all()


def test_a_constant_frame_is_refused():
    with pytest.raises(AlgorithmError, match="constant"):
        preprocess_image(noise_frame(data=np.full((200, 200), 3.0, dtype=np.float32)))


def test_a_wholly_masked_frame_is_refused():
    with pytest.raises(AlgorithmError, match="usable"):
        preprocess_image(noise_frame(mask=np.ones((200, 200), dtype=np.uint16)))


def test_a_frame_without_stars_is_calibrated_without_a_psf_and_says_so():
    done = preprocess_image(noise_frame())
    assert done.image.psf is None
    assert "no PSF: 0 stars of 5" in done.notes
    assert done.metrics["n_psf_stars"] == 0
    assert set(done.metrics) >= METRICS
    for name in ("fwhm_pix", "seeing_arcsec", "ellipticity", "limiting_flux_5sigma"):
        assert done.metrics[name] is None
    assert done.metrics["sky_noise"] == pytest.approx(5.0, rel=0.02)


def test_whoever_needs_the_missing_psf_says_how_many_stars_there_were():
    error = missing_psf(2)
    assert error.message.startswith("the PSF could not be measured: 2 stars of 5")
    assert error.numbers == {"n_stars": 2, "n_required": 5}


def test_a_tiny_frame_is_refused():
    with pytest.raises(AlgorithmError, match="too small"):
        preprocess_image(noise_frame((20, 300)))


def test_a_frame_without_stars_is_calibrated_with_a_given_psf():
    axis = np.arange(-8, 9)
    image = np.exp(-(axis[:, None] ** 2 + axis**2) / 5.0).astype(np.float32)
    done = preprocess_image(noise_frame(), given_psf=constant_psf(image, shape=(200, 200)))
    assert done.metrics["n_stars"] == 0
    assert done.metrics["limiting_magnitude"] is None


@pytest.mark.real_data
def test_the_crowded_frames_register_without_world_coordinates(test_data):
    folder = test_data / "saao_microlensing_kb13475"
    first, second = (
        preprocess_image(read_image(folder / f"AKB13475I{number}.fits").image)
        for number in ("0001", "0007")
    )
    found = register(first.image, first.stars, second.image, science_stars=second.stars)
    assert found.method == "stars"
    assert found.rms_pix is not None
    assert found.rms_pix < 0.05


@pytest.mark.real_data
def test_the_same_night_pair_is_calibrated_alike(test_data):
    folder = test_data / "eso085_same_night_pair"
    first, second = (
        preprocess_image(read_image(folder / f"aligned_eso085-030-00{n}.fit").image) for n in (4, 5)
    )
    assert first.metrics["fwhm_pix"] == pytest.approx(second.metrics["fwhm_pix"], rel=0.03)
    found = register(
        first.image, first.stars, second.image, science_stars=second.stars, aligned=True
    )
    assert found.n_matched > 100
    assert found.flux_ratio == pytest.approx(1.0, abs=0.03)


@pytest.mark.real_data
def test_the_jwst_stamp_is_calibrated_with_its_own_psf_and_noise(test_data):
    folder = test_data / "jwst_nircam_a2744"
    stem = "jw02561001002-02561-o001_t003_nircam_clear-f200w_i2d_stamp"
    image = read_image(folder / "input_data" / f"{stem}.fits").image
    noise = read_plane(folder / "auxiliary" / f"{stem}.noise.fits")
    psf = read_plane(folder / "auxiliary" / f"{stem}.WebbPSF.fits")
    done = preprocess_image(
        image,
        PreprocessConfig(find_cosmic_rays=False),
        given_psf=constant_psf(psf, shape=image.shape),
        given_variance=noise**2,
    )
    # F200W on 31 mas pixels: 66 mas
    assert done.metrics["seeing_arcsec"] == pytest.approx(0.066, abs=0.004)


@pytest.mark.real_data
def test_the_galaxy_cutouts_have_too_few_stars_and_say_so(test_data):
    image = read_image(test_data / "spiral_3surveys" / "PS1_r.fits").image
    done = preprocess_image(image)
    assert done.image.psf is None
    assert done.metrics["n_psf_stars"] < 5
    assert any(note.startswith("no PSF") for note in done.notes)
