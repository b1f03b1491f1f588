"""A new source stands out against the sky without it: its own photons do not hide it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

from astrid_site.imaging.psf import constant_psf
from differencing.algorithms.pair import Pair
from differencing.algorithms.photons import (
    measure_photon_slope,
    new_source_variance,
    unclaimed_variance,
)
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


def test_the_photons_of_a_source_do_not_count_as_noise():
    filtered = make_filtered()
    own = new_source_variance(filtered.psf, filtered.psf) / GAIN
    before = make_score(filtered, error=CALM, noise=TRUE)
    after = make_score(filtered, error=CALM, noise=TRUE, own_variance=own)
    sigma = np.sqrt(SKY_VARIANCE / np.square(gaussian()).sum())
    for place, flux in list(zip(PLACES, FLUXES, strict=True))[:3]:
        assert before[place] < 0.97 * flux / sigma
        # the noise under which it stands out is the sky's
        assert after[place] == pytest.approx(flux / sigma, rel=0.01)
    # a source that faded left its photons in the template, which is not touched
    assert after[PLACES[3]] == before[PLACES[3]]


def test_blank_sky_and_static_light_keep_their_variance():
    filtered = make_filtered()
    own = new_source_variance(filtered.psf, filtered.psf) / GAIN
    before = make_score(filtered, error=CALM, noise=TRUE)
    after = make_score(filtered, error=CALM, noise=TRUE, own_variance=own)
    calm = np.abs(before) < 3.5
    assert calm.mean() > 0.9
    np.testing.assert_array_equal(after[calm], before[calm])
    assert (after >= before - 1e-6).all()


@pytest.mark.parametrize("whitening", [0.8, 1.25], ids=["sharpened", "smoothed"])
def test_the_error_of_a_flux_holds_the_photons_as_the_filters_correlate_them(whitening):
    """Poisson sources through a filter w: the scatter of their fluxes against the claim."""
    narrow, flux, n = gaussian(1.4), 20_000.0, 4000
    kernel = gaussian(0.9, size=9).astype(np.float64)
    if whitening < 1.0:
        identity = np.zeros_like(kernel)
        identity[4, 4] = 1.0
        kernel = 1.6 * identity - 0.6 * kernel
    wide = fftconvolve(np.pad(narrow.astype(np.float64), 4), kernel, mode="same")
    difference_psf = constant_psf(wide.astype(np.float32), shape=SHAPE)
    rng = np.random.default_rng(3)
    photons = rng.poisson(np.pad(narrow, 4) * flux, (n, *wide.shape)).astype(np.float64)
    seen = fftconvolve(photons, kernel[None], mode="same", axes=(1, 2))
    norm = np.square(wide).sum()
    fluxes = (seen * wide).sum(axis=(1, 2)) / norm
    variance = fftconvolve(np.pad(narrow, 4) * flux, kernel**2, mode="same")
    claimed = float((wide**2 * variance).sum() / norm**2)
    missing = flux * unclaimed_variance(constant_psf(narrow, shape=SHAPE), difference_psf)
    # the variance of 4000 fluxes is known to 2.2 %
    assert fluxes.var() == pytest.approx(claimed + missing, rel=0.09)
    assert abs(missing) > 0.2 * claimed
