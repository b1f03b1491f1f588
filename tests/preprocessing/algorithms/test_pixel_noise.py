"""White noise is told apart from starlight by structure finer than the PSF."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from astrid_site.imaging.moffat import moffat_of_fwhm
from preprocessing.algorithms.pixel_noise import white_noise_variance

SHAPE = (400, 400)


def make_crowd(fwhm: float, *, seed: int) -> NDArray[np.float32]:
    """Faint stars everywhere, of variance 1 and mean 0."""
    rng = np.random.default_rng(seed)
    psf = moffat_of_fwhm(fwhm).cutouts(np.zeros(1), np.zeros(1), half=25)[0]
    stars = rng.poisson(0.02, SHAPE) * rng.exponential(1.0, SHAPE)
    light = ndimage.convolve(stars, psf, mode="wrap")
    return np.asarray((light - light.mean()) / light.std(), dtype=np.float32)


@pytest.mark.parametrize("fwhm", [2.5, 4.0, 7.0])
@pytest.mark.parametrize("starlight", [0.0, 0.5, 3.0])
def test_the_noise_under_a_crowd_is_found(fwhm: float, starlight: float) -> None:
    noise = np.random.default_rng(5).normal(0.0, 1.0, SHAPE).astype(np.float32)
    pulls = noise + np.float32(np.sqrt(starlight)) * make_crowd(fwhm, seed=6)
    used = np.ones(SHAPE, dtype=bool)
    found = white_noise_variance(pulls, used, psf=moffat_of_fwhm(fwhm), total=float(pulls.var()))
    # 160,000 values, neighbours correlated by the filter: the variance is known to 1 %
    assert found == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("shift", [0.3, 0.5])
def test_noise_that_resampling_has_smoothed_is_left_to_others(shift: float) -> None:
    noise = np.random.default_rng(5).normal(0.0, 1.0, SHAPE)
    smooth = ndimage.shift(noise, (shift, shift), order=1, mode="wrap").astype(np.float32)
    smooth /= smooth.std()
    pulls = smooth + make_crowd(4.0, seed=6)
    used = np.ones(SHAPE, dtype=bool)
    assert white_noise_variance(pulls, used, psf=moffat_of_fwhm(4.0), total=2.0) is None


def test_too_sharp_a_psf_and_too_little_sky_tell_nothing() -> None:
    pulls = np.random.default_rng(5).normal(0.0, 1.0, SHAPE).astype(np.float32)
    used = np.ones(SHAPE, dtype=bool)
    assert white_noise_variance(pulls, used, psf=moffat_of_fwhm(1.1), total=1.0) is None
    few = np.zeros(SHAPE, dtype=bool)
    few[:40, :40] = True
    assert white_noise_variance(pulls, few, psf=moffat_of_fwhm(4.0), total=1.0) is None
