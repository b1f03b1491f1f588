"""Correlated noise is measured on blank sky and removed, at no cost to fluxes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import convolve

from astrid_site.imaging.psf import constant_psf
from differencing.algorithms.score import measure_noise
from differencing.algorithms.tiles import Filtered
from differencing.algorithms.whitening import measure_colour, whiten
from tests.detection.algorithms.difference_sky import moffat

SHAPE = (512, 512)
FLUX = 400.0
#: Each pixel shares its noise with its neighbours, as after drizzling.
DROP = np.array([[0.1, 0.3, 0.1], [0.3, 1.0, 0.3], [0.1, 0.3, 0.1]])


def make_filtered(drop: np.ndarray) -> tuple[Filtered, np.ndarray]:
    """Noise of unit variance seen through ``drop``, and one source at (256, 256)."""
    rng = np.random.default_rng(4)
    psf = constant_psf(moffat(fwhm=2.5, size=31), shape=SHAPE)
    image = psf.coefficients[0]
    noise = convolve(rng.normal(size=SHAPE), drop, mode="wrap") / np.sqrt(np.square(drop).sum())
    noise[241:272, 241:272] += FLUX * image
    difference = noise.astype(np.float32)
    signal = convolve(difference, image[::-1, ::-1], mode="constant").astype(np.float32)
    filtered = Filtered(
        difference=difference,
        variance=np.ones(SHAPE, np.float32),
        signal=signal,
        signal_variance=np.full(SHAPE, np.square(image).sum(), np.float32),
        static_signal=np.zeros(SHAPE, np.float32),
        bad=np.zeros(SHAPE, dtype=bool),
        psf=psf,
    )
    blank = np.ones(SHAPE, dtype=bool)
    blank[236:277, 236:277] = False
    return filtered, blank


def test_drizzled_noise_becomes_white_and_of_unit_width() -> None:
    filtered, blank = make_filtered(DROP)
    before = measure_noise(filtered, blank)
    assert before.lag1 > 0.3
    assert before.score_width > 1.3
    after = measure_noise(whiten(filtered, measure_colour(filtered, blank)), blank)
    # a quarter of a million pixels tell a correlation to 0.002; the taper leaves a little
    assert abs(after.lag1) < 0.03
    assert after.pull_width == pytest.approx(1.0, abs=0.03)
    assert after.score_width == pytest.approx(1.0, abs=0.05)


def test_whitening_keeps_the_flux_and_gains_significance() -> None:
    filtered, blank = make_filtered(DROP)
    white = whiten(filtered, measure_colour(filtered, blank))
    psf = white.psf.at(256.0, 256.0)[0]
    box = white.difference[241:272, 241:272]
    norm = np.square(psf).sum()
    error = float(np.sqrt(white.variance[256, 256] / norm))
    assert float((psf * box).sum() / norm) == pytest.approx(FLUX, abs=4 * error)
    assert float(white.signal[256, 256] / norm) == pytest.approx(FLUX, abs=4 * error)
    # the old matched filter weighs frequencies as if their noise were alike
    old_error = measure_noise(filtered, blank).score_width / np.sqrt(
        np.square(filtered.psf.coefficients[0]).sum()
    )
    assert error < old_error


def test_white_noise_is_left_alone() -> None:
    filtered, blank = make_filtered(np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert measure_colour(filtered, blank).is_white


def test_without_blank_sky_nothing_is_known() -> None:
    filtered, blank = make_filtered(DROP)
    assert measure_colour(filtered, np.zeros_like(blank)).is_white
