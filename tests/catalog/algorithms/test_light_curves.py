"""Light-curve summaries say what the points say."""

from __future__ import annotations

import numpy as np
import pytest

from catalog.algorithms.light_curves import mean_position, summarize_light_curve


def test_the_summary_names_first_last_and_peak_detections() -> None:
    mjd = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    flux = np.array([1.0, 60.0, 100.0, np.nan, 4.0])
    summary = summarize_light_curve(mjd, flux, np.full(5, 2.0))
    assert (summary.n_points, summary.n_detections) == (4, 2)
    assert (summary.first_detection_mjd, summary.last_detection_mjd) == (2.0, 3.0)
    assert (summary.peak_flux, summary.peak_mjd, summary.peak_flux_error) == (100.0, 3.0, 2.0)


def test_a_fading_source_peaks_downwards() -> None:
    summary = summarize_light_curve(np.arange(2.0), np.array([-50.0, 20.0]), np.ones(2))
    assert summary.peak_flux == -50.0


def test_without_detections_there_is_no_peak() -> None:
    summary = summarize_light_curve(np.arange(3.0), np.array([1.0, -1.0, 0.5]), np.ones(3))
    assert summary.n_detections == 0
    assert summary.peak_flux is None
    assert summary.first_detection_mjd is None


def test_constant_sources_have_unit_chi2_and_a_single_point_none() -> None:
    rng = np.random.default_rng(1)
    error = rng.uniform(1, 3, 400)
    summary = summarize_light_curve(np.arange(400.0), rng.normal(10, error), error)
    # reduced chi2 of 399 degrees of freedom scatters by 7 %
    assert summary.chi2_constant == pytest.approx(1.0, abs=0.25)
    assert summarize_light_curve(np.zeros(1), np.ones(1), np.ones(1)).chi2_constant is None


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes"):
        summarize_light_curve(np.zeros(2), np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("dec", [0.0, 60.0])
def test_the_mean_position_is_weighted_and_crosses_ra_zero(dec: float) -> None:
    offset = np.array([-1.0, 1.0]) / 3600 / np.cos(np.radians(dec))
    mean = mean_position(
        offset % 360, np.full(2, dec), error_arcsec=np.array([0.3, 1e3]), mjd=np.arange(2.0)
    )
    assert (mean.ra + 180) % 360 - 180 == pytest.approx(offset[0], abs=1e-8)
    assert mean.dec == pytest.approx(dec, abs=1e-7)
    assert mean.error_arcsec == pytest.approx(np.hypot(0.3, 0.1), rel=1e-3)


def test_the_mean_of_positions_around_the_pole_is_the_pole() -> None:
    mean = mean_position(
        np.array([0.0, 90.0, 180.0, 270.0]),
        np.full(4, 89.999),
        error_arcsec=np.full(4, 0.1),
        mjd=np.arange(4.0),
    )
    assert mean.dec == pytest.approx(90.0, abs=1e-7)


def test_an_asteroid_moves_and_a_supernova_does_not() -> None:
    rng = np.random.default_rng(8)
    mjd, error = np.arange(5.0) / 50, np.full(5, 0.2)
    noise = rng.normal(0, 0.2 / 3600, (2, 5))
    still = mean_position(10 + noise[0], noise[1], error_arcsec=error, mjd=mjd)
    assert not still.is_moving
    moving = mean_position(10 + noise[0] + mjd * 60 / 3600, noise[1], error_arcsec=error, mjd=mjd)
    assert moving.is_moving
    assert moving.speed_arcsec_per_day == pytest.approx(60.0, rel=0.15)


def test_positions_at_one_time_have_no_speed() -> None:
    mean = mean_position(np.zeros(2), np.zeros(2), error_arcsec=np.ones(2), mjd=np.zeros(2))
    assert mean.speed_arcsec_per_day is None
    assert not mean.is_moving


def test_no_position_has_no_mean() -> None:
    empty = np.zeros(0)
    with pytest.raises(ValueError, match="length"):
        mean_position(empty, empty, error_arcsec=empty, mjd=empty)
