"""Noise measured on bands of a large frame is that of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.psf import constant_psf
from differencing.algorithms.frame_background import subtract_background
from differencing.algorithms.quality import LIMITS, judge
from differencing.algorithms.score import measure_noise, sample_bands
from differencing.algorithms.tiles import Filtered


def filtered(shape, *, seed=1, level=0.0, correlated=0.0):
    """Blank sky of noise 2 claimed to be 2, neighbours correlated along y."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0, 2.0, shape).astype(np.float32)
    noise[1:] = np.sqrt(1 - correlated**2) * noise[1:] + correlated * noise[:-1]
    variance = np.full(shape, 4.0, dtype=np.float32)
    psf = np.zeros((5, 5), dtype=np.float32)
    psf[2, 2] = 1.0
    return Filtered(
        difference=noise + np.asarray(level, dtype=np.float32),
        variance=variance,
        signal=noise + np.asarray(level, dtype=np.float32),
        signal_variance=variance,
        static_signal=np.zeros(shape, dtype=np.float32),
        bad=np.zeros(shape, dtype=bool),
        psf=constant_psf(psf, shape=shape),
    )


@pytest.mark.parametrize("shape", [(300, 400), (1700, 1800)])
def test_width_and_correlation_are_those_of_the_sky(shape):
    sky = filtered(shape, correlated=0.2)
    noise = measure_noise(sky, np.ones(shape, dtype=bool))
    # the width of n Gaussian values by the median deviation is good to 1.17 / sqrt(n)
    n = sample_bands(shape).size * shape[1]
    assert noise.pull_width == pytest.approx(1.0, abs=5 * 1.17 / np.sqrt(n))
    # clipping takes a little of it
    assert noise.lag1 == pytest.approx(0.196, abs=0.005 + 5 / np.sqrt(n))
    assert noise.n_blank == shape[0] * shape[1]


def test_a_large_frame_is_sampled_evenly_to_its_edges():
    rows = sample_bands((4096, 4096))
    assert rows.shape[0] == 32
    assert rows.size * 4096 == pytest.approx(2**21, rel=0.01)
    assert (rows[0, 0], rows[-1, -1]) == (0, 4095)
    assert (np.diff(rows, axis=1) == 1).all()


def test_a_small_frame_is_sampled_whole():
    assert (sample_bands((512, 700)) == np.arange(512)).all()


def test_a_sloping_and_bent_level_is_taken_off():
    shape = (300, 410)
    y, x = np.mgrid[: shape[0], : shape[1]]
    level = 3.0 + 0.01 * x - 0.02 * y + 2e-5 * (x - 200.0) ** 2 + 1e-5 * x * y
    sky = filtered(shape, level=level)
    noise = sky.difference - level
    flat, taken = subtract_background(sky, np.ones(shape, dtype=bool), order=2)
    left = flat.difference - noise
    # six terms through the medians of 28 cells, each good to 1.25 * 2 / sqrt(2048)
    assert np.sqrt(np.mean(left**2)) < 3 * 1.25 * 2 / np.sqrt(2048) * np.sqrt(6 / 28)
    assert flat.signal == pytest.approx(flat.difference, abs=1e-5)
    assert taken.rms == pytest.approx(np.sqrt(np.mean(level**2)), rel=0.02)


def test_moonlight_that_no_polynomial_follows_is_taken_off():
    shape = (700, 700)
    y, x = np.mgrid[: shape[0], : shape[1]]
    level = 30.0 * np.exp(-np.hypot(x - 760.0, y + 60.0) / 150.0)
    sky = filtered(shape, level=level)
    noise = sky.difference - level
    flat, taken = subtract_background(sky, np.ones(shape, dtype=bool), order=2)
    # the polynomial leaves 3.6 times the noise in the corner
    assert np.abs(flat.difference - noise).max() < 2.0
    # a median of 2048 pixels is good to 0.028: 99 % are below 0.07
    assert 0.02 < taken.left < 0.1


def test_a_level_that_changes_within_few_pixels_is_told():
    shape = (700, 700)
    step = np.where(np.arange(700) < 224, 0.0, 3.0)[:, None]
    checks = step * (np.arange(700) % 128 < 64)
    _, taken = subtract_background(
        filtered(shape, level=checks), np.ones(shape, dtype=bool), order=2
    )
    verdict, reasons = judge(
        {limit.name: limit.passing[0] for limit in LIMITS} | {"background_left": taken.left}
    )
    # 0.75 of the noise up or down
    assert 0.2 < taken.left < 1.0
    assert verdict == "downgrade"
    assert [reason.split()[0] for reason in reasons] == ["background_left"]
