"""A new source stands out against the sky without it: its own photons do not hide it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

from astrid_site.imaging.psf import constant_psf
from differencing.algorithms.pair import Pair
from differencing.algorithms.photons import measure_photon_slope, new_source_variance
from differencing.algorithms.score import ModelError, NoiseTruth, make_score
from differencing.algorithms.tiles import Filtered

SHAPE = (256, 256)
SKY_VARIANCE = 100.0
GAIN = 1.5
#: Sources in clean sky: brighter and fainter ones, and one that faded.
PLACES = [(60, 60), (60, 180), (180, 60), (180, 180)]
FLUXES = [3000.0, 1200.0, 600.0, -3000.0]
CALM = ModelError(0.0, 0.0)
TRUE = NoiseTruth(1.0, 1.0, 0.0, 1)


def gaussian(sigma=1.4, size=21):
    offset = np.arange(size) - size // 2
    image = np.exp(-0.5 * (offset[:, None] ** 2 + offset[None, :] ** 2) / sigma**2)
    return (image / image.sum()).astype(np.float32)


def make_pair(*, has_photons=True, stars=True):
    psf = gaussian()
    light = np.zeros(SHAPE, dtype=np.float32)
    if stars:
        for place in PLACES:
            light[place] = 30_000.0
        light = fftconvolve(light, psf, mode="same").astype(np.float32)
    variance = np.full(SHAPE, SKY_VARIANCE, dtype=np.float32)
    if has_photons:
        variance = variance + light / np.float32(GAIN)
    field = constant_psf(psf, shape=SHAPE)
    bad = np.zeros(SHAPE, dtype=bool)
    mask = np.zeros(SHAPE, np.uint16)
    return Pair(light, light, variance, variance, bad, mask, field, field)


def make_filtered():
    """Noiseless sources, the variance with their photons, both through the matched filter."""
    psf = gaussian()
    data, light = np.zeros(SHAPE), np.zeros(SHAPE)
    for place, flux in zip(PLACES, FLUXES, strict=True):
        data[place], light[place] = flux, max(flux, 0.0)
    data, light = (fftconvolve(plane, psf, mode="same") for plane in (data, light))
    variance = SKY_VARIANCE + light / GAIN
    signal = fftconvolve(data, psf, mode="same")
    signal_variance = fftconvolve(variance, psf**2, mode="same")
    planes = [p.astype(np.float32) for p in (data, variance, signal, signal_variance)]
    static = np.zeros(SHAPE, dtype=np.float32)
    bad = np.zeros(SHAPE, dtype=bool)
    bad[:12], bad[-12:], bad[:, :12], bad[:, -12:] = True, True, True, True
    return Filtered(*planes, static, bad, constant_psf(psf, shape=SHAPE))


def test_the_gain_is_read_off_the_variance_of_stars():
    assert measure_photon_slope(make_pair()) == pytest.approx(1.0 / GAIN, rel=0.02)


def test_a_variance_without_photons_or_a_sky_without_stars_gives_none():
    assert measure_photon_slope(make_pair(has_photons=False)) == 0.0
    assert measure_photon_slope(make_pair(stars=False)) == 0.0


def test_the_photons_of_a_source_add_what_the_filters_make_of_them():
    # science PSF narrower than the difference's: h = gauss(sqrt(2 * 1.8^2 - 1.4^2))
    science, difference = (constant_psf(gaussian(s), shape=SHAPE) for s in (1.4, 1.8))
    response = gaussian(np.sqrt(2 * 1.8**2 - 1.4**2), size=41).astype(float)
    source = np.zeros_like(response)
    source[10:31, 10:31] = gaussian(1.4)
    expected = float(np.sum(response**2 * source))
    assert new_source_variance(science, difference) == pytest.approx(expected, rel=0.02)


def test_the_photons_of_a_source_beyond_5_sigma_of_it_do_not_count_as_noise():
    filtered = make_filtered()
    own = new_source_variance(filtered.psf, filtered.psf) / GAIN
    before = make_score(filtered, error=CALM, noise=TRUE)
    after = make_score(filtered, error=CALM, noise=TRUE, own_variance=own)
    sigma = np.sqrt(SKY_VARIANCE / np.square(gaussian()).sum())
    for place, flux in list(zip(PLACES, FLUXES, strict=True))[:3]:
        ideal = flux / sigma
        assert before[place] < 0.97 * ideal
        # of its photons those are left that 5 sigma of it bring
        left = 5.0 * flux / before[place] * own
        noise = np.sqrt((np.square(gaussian()).sum() * SKY_VARIANCE + left) / flux**2)
        expected = float(np.square(gaussian()).sum()) / noise
        assert after[place] == pytest.approx(expected, rel=0.01)
        assert before[place] < after[place] < ideal
    # a source that faded left its photons in the template, which is not touched
    assert after[PLACES[3]] == before[PLACES[3]]


def test_blank_sky_and_static_light_keep_their_variance():
    filtered = make_filtered()
    own = new_source_variance(filtered.psf, filtered.psf) / GAIN
    before = make_score(filtered, error=CALM, noise=TRUE)
    after = make_score(filtered, error=CALM, noise=TRUE, own_variance=own)
    calm = np.abs(before) < 5.0
    assert calm.mean() > 0.9
    np.testing.assert_array_equal(after[calm], before[calm])
    assert (after >= before - 1e-6).all()
