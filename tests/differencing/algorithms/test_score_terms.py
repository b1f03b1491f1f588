"""Each term of the score stands for a known disagreement of the two images, of its true size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import convolve

from astrid_site.imaging.psf import constant_psf
from differencing.algorithms.subtract import Subtraction, SubtractionConfig, subtract
from tests.detection.algorithms.difference_sky import moffat
from tests.differencing.algorithms.star_grid import (
    FWHM,
    SIGMA,
    STEP,
    StarGrid,
    flux_of,
    largest_at_stars,
    make_grid,
    plain_score,
)

N_SIDE = 12
N_STARS = N_SIDE**2
SIDE = STEP * (N_SIDE + 1)
#: A new source of S/N 15 midway between four stars.
NEW = (5.5 * STEP, 6.5 * STEP, 15.0)
#: Each pixel shares its noise with its neighbours, as after drizzling.
DROP = np.array([[0.1, 0.3, 0.1], [0.3, 1.0, 0.3], [0.1, 0.3, 0.1]])


def difference_of(grid: StarGrid, method: str = "zogy") -> Subtraction:
    # ZOGY fits nothing to the stars, so that all of the disagreement is left for the score
    config = SubtractionConfig(method=method)
    return subtract(grid.template, grid.science, stars=grid.stars, config=config)


def width(values: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def new_source() -> tuple[tuple[float, float, float], ...]:
    return ((NEW[0], NEW[1], flux_of(NEW[2])),)


def score_of_new(result: Subtraction) -> float:
    return float(result.score[round(NEW[1]), round(NEW[0])])


@pytest.fixture(scope="module")
def jittered() -> tuple[StarGrid, Subtraction, np.ndarray]:
    """Stars of S/N 1500 that each sit 0.03 pix, per axis, from where the template has them."""
    shift = np.random.default_rng(7).normal(0.0, 0.03, (N_STARS, 2))
    grid = make_grid(snr=1500.0, shift=shift, new=new_source())
    return grid, difference_of(grid), shift


@pytest.fixture(scope="module")
def rescaled() -> tuple[StarGrid, Subtraction, np.ndarray]:
    """Stars of S/N 1000 whose fluxes differ by 2 % from the template's."""
    change = np.random.default_rng(8).normal(0.0, 0.02, N_STARS)
    grid = make_grid(snr=1000.0, change=change, new=new_source())
    return grid, difference_of(grid), change


def test_stars_out_of_place_are_no_candidates(
    jittered: tuple[StarGrid, Subtraction, np.ndarray],
) -> None:
    grid, result, _ = jittered
    # 0.03 pix of S/N 1500 are 15 sigma on the star's flank, where its light is steepest
    assert np.median(largest_at_stars(plain_score(result), grid.stars)) > 8.0
    # a term of the true scatter makes unit pulls of them; of 144 stars none is beyond 5
    assert largest_at_stars(result.score, grid.stars).max() < 5.0


def test_stars_of_another_flux_are_no_candidates(
    rescaled: tuple[StarGrid, Subtraction, np.ndarray],
) -> None:
    grid, result, _ = rescaled
    # 2 % of S/N 1000 are 20 sigma at the star's peak
    assert np.median(largest_at_stars(plain_score(result), grid.stars)) > 8.0
    assert largest_at_stars(result.score, grid.stars).max() < 5.0


def test_the_terms_cost_a_source_away_from_stars_nothing(
    jittered: tuple[StarGrid, Subtraction, np.ndarray],
    rescaled: tuple[StarGrid, Subtraction, np.ndarray],
) -> None:
    for _, result, _ in (jittered, rescaled):
        # noise of 1 sigma, and the wings of stars of S/N 1500 at 16 pix: at 4 sigma in all
        assert score_of_new(result) == pytest.approx(NEW[2], abs=4.0)


def test_the_shift_error_is_the_scatter_that_the_stars_have(
    jittered: tuple[StarGrid, Subtraction, np.ndarray],
) -> None:
    _, result, shift = jittered
    truth = max(width(shift[:, 0]), width(shift[:, 1]))
    # central differences see a tenth less of the slope of a PSF of 3 pix, and so more of a shift;
    # the noise of a star of S/N 1500 is 0.001 pix
    assert result.metrics["model_shift_pix"] == pytest.approx(truth, rel=0.25)


def test_the_flux_error_is_the_scatter_that_the_stars_have(
    rescaled: tuple[StarGrid, Subtraction, np.ndarray],
) -> None:
    _, result, change = rescaled
    # the noise of each star is 0.1 %, twenty times less than the scatter
    assert result.metrics["model_flux_error"] == pytest.approx(width(change), rel=0.15)


def test_stars_that_agree_get_no_error_beyond_the_best_photometry() -> None:
    result = difference_of(make_grid(snr=1000.0))
    # 0.1 % of noise in each star is no scatter between the images
    assert float(result.metrics["model_flux_error"]) < 0.004
    assert float(result.metrics["model_shift_pix"]) < 0.01


def test_correlated_noise_leaves_no_correlation_and_a_score_of_unit_width() -> None:
    rng = np.random.default_rng(4)
    noise = convolve(rng.normal(size=(SIDE, SIDE)), DROP, mode="wrap")
    noise *= 3.0 * SIGMA / np.sqrt(np.square(DROP).sum())
    grid = make_grid(snr=300.0, noise=noise)
    science = grid.science.with_(variance=9.0 * grid.science.variance)
    result = difference_of(replace(grid, science=science))
    y, x = np.mgrid[:SIDE, :SIDE]
    far = (np.hypot((x + 11) % STEP - 11, (y + 11) % STEP - 11) > 9.0) & (result.score != 0)
    for axis in (0, 1):
        neighbour = np.roll(result.difference, 1, axis=axis)
        both = far & np.roll(far, 1, axis=axis)
        # it is 0.5 in the science image; 40 000 pairs tell 0.005, the tapered filter leaves 0.03
        lag1 = np.corrcoef(result.difference[both], neighbour[both])[0, 1]
        assert abs(lag1) < 0.05
    # the matched filter leaves 5 000 independent values: a width to 1.17 / sqrt(5 000) = 0.017
    assert width(result.score[far]) == pytest.approx(1.0, abs=0.07)


def test_a_hopeless_difference_never_replaces_a_mediocre_one() -> None:
    # 6 % of scatter leaves the kernel a poor match, which asks for ZOGY; but that is told a PSF
    # 1.4 times as wide as the stars are, and leaves ten times as much of them
    change = np.random.default_rng(9).normal(0.0, 0.06, 64)
    grid = make_grid(snr=300.0, n_side=8, change=change)
    wide = constant_psf(moffat(fwhm=1.4 * FWHM, size=21), shape=grid.science.data.shape)
    grid = replace(grid, science=grid.science.with_(psf=wide))
    zogy, chosen = (difference_of(grid, method) for method in ("zogy", "auto"))
    assert zogy.quality == "fail"
    # the kernel's difference is poor enough for ZOGY to have been tried, and is kept
    assert chosen.method.startswith("kernel")
    assert chosen.quality == "downgrade"
    assert 2.5 < float(chosen.metrics["chi2_stars_median"]) < 10.0
    assert float(zogy.metrics["chi2_stars_median"]) > 50.0
