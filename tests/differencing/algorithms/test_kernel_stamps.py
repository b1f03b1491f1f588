"""The kernel that is shown is the one that was fitted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

from astrid_site.imaging.inspection import grid_positions
from astrid_site.imaging.simulation import PairConfig, simulate_pair
from differencing.algorithms.subtract import subtract
from differencing.algorithms.subtraction import SubtractionConfig
from preprocessing.algorithms.stars import find_stars


@pytest.fixture(scope="module")
def pair():
    return simulate_pair(PairConfig(shape=(384, 384), psf_variation=0.06, flux_ratio=0.8))


def difference(pair, method):
    science = pair.calibrated_science()
    return subtract(
        pair.calibrated_reference(),
        science,
        stars=find_stars(science),
        config=SubtractionConfig(method=method, direction="template"),
    )


def test_the_fitted_kernel_turns_the_template_psf_into_that_of_the_science_frame(pair):
    done = difference(pair, "kernel")
    kernels = done.kernel_stamps
    assert kernels.shape[0] == 9
    # the sum is the flux ratio, at the middle as the metrics have it
    assert kernels[4].sum() == pytest.approx(done.metrics["flux_ratio"], rel=0.01)
    assert kernels.sum(axis=(1, 2)) == pytest.approx(np.full(9, 0.8), rel=0.03)
    x, y = grid_positions(pair.science.shape)
    half = 8
    for k in range(9):
        sharp, wide = (psf.at(x[k], y[k])[0] for psf in (pair.reference_psf, pair.science_psf))
        made = fftconvolve(sharp, kernels[k], mode="same")
        middle, other = sharp.shape[0] // 2, wide.shape[0] // 2
        made = made[middle - half : middle + half + 1, middle - half : middle + half + 1] / 0.8
        wanted = wide[other - half : other + half + 1, other - half : other + half + 1]
        # 300 stars over the frame fix it to a few per cent where it has the least of them
        assert np.sqrt(((made - wanted) ** 2).sum() / (wanted**2).sum()) < 0.08


def test_a_difference_without_a_kernel_has_none_to_show(pair):
    assert difference(pair, "zogy").kernel_stamps is None
