"""A verdict tells what was measured, on pixels that nothing chose, and what was assumed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.psf import constant_psf
from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from differencing.algorithms import quality
from differencing.algorithms.score import ModelError, NoiseTruth, measure_noise, measure_score
from differencing.algorithms.subtract import subtract
from differencing.algorithms.subtraction import Metric, Subtraction
from differencing.algorithms.tiles import Filtered
from preprocessing.algorithms.stars import find_stars

FIELD = PairConfig(seed=2, shape=(512, 512), star_density_per_mpix=700)


def differ(config: PairConfig, *, n_stars: int = 10**6) -> Subtraction:
    """Difference of a simulated pair, with all but the brightest stars left out if asked for."""
    pair = simulate_pair(config)
    template, science = pair.calibrated_reference(), pair.calibrated_science()
    stars = find_stars(science)
    return subtract(template, science, stars=stars.select(np.flatnonzero(stars.is_star)[:n_stars]))


def number(metrics: dict[str, Metric], name: str) -> float:
    """A number that must have been measured."""
    value = metrics[name]
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize("density", [100, 700, 8000, 25000])
def test_real_changes_do_not_spoil_the_numbers_of_the_whole_score(density: int) -> None:
    # 21 transients on a quarter of a million pixels are 80 per Mpix, more than surveys have
    metrics = differ(replace(FIELD, star_density_per_mpix=density)).metrics
    assert number(metrics, "score_width_all") == pytest.approx(1.0, abs=0.03)
    assert 0.0027 < number(metrics, "score_over_3_sigma") < 0.01
    assert number(metrics, "score_over_5_sigma") < 0.005


def test_noise_alone_is_beyond_three_sigma_as_often_as_gauss_says() -> None:
    score = np.random.default_rng(3).normal(size=(900, 1000)).astype(np.float32)
    bad = np.zeros(score.shape, dtype=bool)
    bad[:300] = True
    score[bad] = 50.0
    truth = measure_score(score, bad)
    expected = 0.0027
    assert truth.over_3_sigma == pytest.approx(expected, abs=5 * np.sqrt(expected / 600_000))
    assert truth.over_5_sigma is not None
    assert truth.over_5_sigma < 1e-5
    assert truth.width == pytest.approx(1.0, abs=5 * 1.17 / np.sqrt(600_000))


def test_the_whole_score_is_counted_where_no_pixel_was_chosen() -> None:
    score = np.random.default_rng(3).normal(size=(600, 600)).astype(np.float32)
    score[:30] *= 20.0
    truth = measure_score(score, np.zeros(score.shape, dtype=bool))
    told = quality.score_metrics(truth)
    _, reasons = quality.judge(told)
    said = " ".join(reasons)
    assert "score_over_3_sigma 0.0" in said
    assert "score_over_5_sigma 0.0" in said


def test_without_a_usable_pixel_the_score_is_not_measured() -> None:
    shape = (40, 40)
    truth = measure_score(np.zeros(shape, np.float32), np.ones(shape, dtype=bool))
    assert set(quality.score_metrics(truth).values()) == {None}


def test_a_score_wider_than_its_noise_never_passes() -> None:
    good = differ(FIELD)
    assert good.quality == "pass"
    verdict, reasons = quality.judge(
        good.metrics | {"score_width_all": 1.23, "score_over_3_sigma": 0.058}
    )
    assert verdict == "downgrade"
    assert [reason.split()[0] for reason in reasons] == ["score_width_all", "score_over_3_sigma"]


def test_errors_that_were_assumed_are_not_told_as_measured() -> None:
    made = differ(FIELD, n_stars=2)
    assert made.metrics["n_residual_stars"] == 2
    assert made.metrics["model_flux_error"] is None
    assert made.metrics["model_shift_pix"] is None
    assert made.metrics["assumed_flux_error"] == 0.004
    assert made.metrics["assumed_shift_pix"] == 0.01
    assert made.quality != "pass"
    assert sum("no star to judge by: errors of 0.4 %" in part for part in made.quality_reasons) == 1
    measured = differ(FIELD).metrics
    assert measured["assumed_flux_error"] is None
    assert number(measured, "model_flux_error") >= 0.001


def test_noise_without_sky_to_measure_it_on_is_not_told_as_one() -> None:
    shape = (30, 30)
    plane = np.ones(shape, dtype=np.float32)
    psf = constant_psf(np.full((3, 3), 1 / 9, np.float32), shape=shape)
    sky = Filtered(plane, plane, plane, plane, plane, np.zeros(shape, dtype=bool), psf)
    noise = measure_noise(sky, np.zeros(shape, dtype=bool))
    told = quality.noise_metrics(noise, noise)
    assert told.pop("n_blank") == 0
    assert set(told.values()) == {None}
    verdict, reasons = quality.judge(told | {"n_blank": 0})
    assert verdict == "downgrade"
    assert "pull_width_propagated could not be measured" in reasons


def test_measured_noise_is_told_as_it_is() -> None:
    noise = NoiseTruth(pull_width=1.02, score_width=0.98, lag1=0.01, n_blank=9000)
    told = quality.noise_metrics(noise, replace(noise, lag1=0.3))
    assert (told["pull_width_propagated"], told["lag1"]) == (1.02, 0.01)
    assert told["lag1_propagated"] == 0.3
    assert told["score_scale"] == pytest.approx(1 / 0.98)


def test_residuals_of_no_star_tell_no_number() -> None:
    none = quality.StarResiduals(*np.zeros((6, 0)))
    error = ModelError(flux_fraction=0.004, shift_pix=0.01)
    told = quality.residual_metrics(none, error)
    verdict, reasons = quality.judge(told)
    assert verdict == "downgrade"
    assert reasons[0].startswith("no star to judge by")
    assert not any("chi2_stars" in reason for reason in reasons)
