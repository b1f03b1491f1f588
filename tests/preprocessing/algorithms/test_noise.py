"""The variance: width 1 of pulls on sky and on stars, gain, confusion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from astrid_site.imaging.image import Image
from astrid_site.imaging.moffat import moffat_of_fwhm
from preprocessing.algorithms.background import fit_background
from preprocessing.algorithms.noise import (
    autocorrelation,
    build_variance,
    estimate_gain,
    measure_confusion,
)


@pytest.fixture(scope="module")
def measured(make_field):
    field = make_field(n_stars=200, flux_range=(1000.0, 3e5))
    background = fit_background(field.image)
    data = field.image.data - background.level
    variance = build_variance(data, background, gain=2.0, fwhm_pix=3.0)
    return field, (data - field.light) / np.sqrt(variance)


def test_blank_sky_pulls_have_width_one(measured):
    field, pulls = measured
    # 1e5 pixels fix the width to 0.3 %; the noise map itself is good to 1.5 %
    assert pulls[field.light < 0.2].std() == pytest.approx(1.0, abs=0.02)


def test_pulls_on_bright_stars_have_width_one(measured):
    field, pulls = measured
    bright = field.light > 500.0
    assert bright.sum() > 300
    # about 400 pixels fix the width to 3.5 %
    assert pulls[bright].std() == pytest.approx(1.0, abs=0.12)


def test_a_positive_sky_fluctuation_does_not_enlarge_its_own_variance():
    rng = np.random.default_rng(5)
    data = rng.normal(0.0, 1.5, (200, 200)).astype(np.float32)
    background = fit_background(Image(data=data + 1, mask=np.zeros(data.shape, dtype=np.uint16)))
    variance = build_variance(data, background, gain=0.5, fwhm_pix=2.5)
    assert np.mean(variance[data > 3.0]) == pytest.approx(np.mean(variance), rel=0.03)


def test_the_gain_of_the_header_wins(make_field):
    field = make_field()
    found = estimate_gain(field.image, fit_background(field.image))
    assert (found.gain, found.source) == (2.0, "header")


def test_a_missing_gain_is_measured_from_the_photon_noise_of_the_sky(make_field):
    field = make_field(n_stars=60)
    background = fit_background(field.image)
    found = estimate_gain(field.image.with_(gain=None), background)
    assert found.source == "photon_transfer"
    # the noise is good to 1.5 %, and enters squared
    assert found.gain == pytest.approx(2.0, rel=0.04)


@pytest.mark.parametrize("gain", [1.6, 2.5])
def test_a_gain_about_that_of_the_sky_is_believed(make_field, gain):
    field = make_field(n_stars=60)
    found = estimate_gain(field.image.with_(gain=gain, read_noise=1.0), fit_background(field.image))
    assert (found.gain, found.source, found.doubt) == (gain, "header", "")


@pytest.mark.parametrize("gain", [0.2, 0.7, 1.2, 3.3, 6.0, 20.0])
def test_a_gain_that_the_sky_contradicts_is_doubted_but_used(make_field, gain):
    field = make_field(n_stars=60)
    found = estimate_gain(field.image.with_(gain=gain, read_noise=1.0), fit_background(field.image))
    assert (found.gain, found.source) == (gain, "header")
    assert f"gain of {gain:.3g} electrons per unit contradicts" in found.doubt


def test_noise_that_resampling_narrowed_doubts_no_gain(make_field):
    field = make_field(n_stars=60)
    # half the variance, the rest shared between neighbours: the sky seems to have twice the gain
    smooth = 0.5 * (field.image.data[:, 1:] + field.image.data[:, :-1])
    image = field.image.with_(
        data=smooth, mask=field.image.mask[:, 1:], variance=None, wcs=None, read_noise=1.0
    )
    found = estimate_gain(image, fit_background(image))
    assert (found.gain, found.doubt) == (2.0, "")


@pytest.mark.parametrize("gain", [1e-6, 200.0, 1e6])
def test_an_absurd_gain_is_replaced_by_that_of_the_sky(make_field, gain):
    field = make_field(n_stars=60)
    found = estimate_gain(field.image.with_(gain=gain), fit_background(field.image))
    assert found.source == "photon_transfer"
    assert found.gain == pytest.approx(2.0, rel=0.04)
    assert found.doubt.endswith("that is used")


def test_a_subtracted_sky_doubts_no_gain(make_field):
    field = make_field(n_stars=60)
    image = field.image.with_(gain=1e6, data=field.image.data - 200)
    found = estimate_gain(image, fit_background(image))
    assert (found.gain, found.source, found.doubt) == (1e6, "header", "")


def test_a_subtracted_sky_tells_no_gain(make_field):
    field = make_field(n_stars=60)
    image = field.image.with_(gain=None, data=field.image.data - 200)
    found = estimate_gain(image, fit_background(image))
    assert (found.gain, found.source) == (None, "sky_only")


def test_plain_noise_is_not_confusion(make_field):
    field = make_field(n_stars=60)
    background = fit_background(field.image)
    bad = np.zeros(field.light.shape, dtype=np.bool_)
    data = field.image.data - background.level
    assert measure_confusion(data, background, bad=bad, psf=moffat_of_fwhm(3.0)) == 0.0


def test_noise_correlated_by_resampling_is_not_confusion():
    rng = np.random.default_rng(6)
    data = ndimage.shift(rng.normal(100.0, 5.0, (300, 300)), (0.5, 0.5), order=1, mode="nearest")
    image = Image(data=data.astype(np.float32), mask=np.zeros(data.shape, dtype=np.uint16))
    background = fit_background(image)
    left = image.data - background.level
    bad = np.zeros(data.shape, dtype=np.bool_)
    assert measure_confusion(left, background, bad=bad, psf=moffat_of_fwhm(3.5)) == 0.0


def test_unresolved_stars_are_taken_out_of_the_noise(make_field):
    field = make_field(n_stars=6000, fwhm=4.0, flux_range=(200.0, 3000.0), seed=7)
    background = fit_background(field.image)
    data = field.image.data - background.level
    bad = np.zeros(data.shape, dtype=np.bool_)
    share = measure_confusion(data, background, bad=bad, psf=moffat_of_fwhm(4.0))
    true_noise = np.sqrt(field.sky_sigma**2 + np.median(field.light) / 2.0)
    assert background.noise > 1.09 * true_noise
    # the clipped, source-free sky holds a biased sample of the faint stars
    assert background.without_confusion(share).noise == pytest.approx(true_noise, rel=0.06)


def test_the_autocorrelation_of_white_noise_is_a_spike():
    values = np.random.default_rng(8).normal(0, 1, (300, 300)).astype(np.float32)
    result = autocorrelation(values, np.ones(values.shape, dtype=np.bool_), furthest=4)
    assert result[0] == pytest.approx(1.0, abs=0.02)
    assert np.abs(result[1:]).max() < 5 / np.sqrt(2 * 300 * 300)
