"""Figures of merit: known answers, honest intervals, and None where nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest

from detection.training.metrics import (
    auc_pr,
    brier,
    calibration_error,
    curves,
    judge,
    matthews,
    missed_at_fpr,
    roc_auc,
)


def test_known_answers() -> None:
    score = np.array([0.9, 0.8, 0.3, 0.2])
    truth = np.array([True, False, True, False])
    assert roc_auc(score, truth) == pytest.approx(0.75)
    assert brier(score, truth) == pytest.approx((0.01 + 0.64 + 0.49 + 0.04) / 4)
    assert matthews(score, truth) == pytest.approx(0.0)
    # the highest bogus scores 0.794 at 99 %: one of two real is below
    assert missed_at_fpr(score, truth) == pytest.approx(0.5)


def test_a_calibrated_score_has_a_small_calibration_error() -> None:
    rng = np.random.default_rng(1)
    score = rng.random(50_000)
    truth = rng.random(50_000) < score
    error = calibration_error(score, truth)
    # each tenth is known to 0.7 %, and the mean modulus of ten such errors is 0.5 %
    assert error is not None
    assert error < 0.012
    squeezed = calibration_error(0.5 + (score - 0.5) * 0.2, truth)
    assert squeezed is not None
    assert squeezed > 0.15


def test_undefined_is_none_and_never_zero() -> None:
    answer = judge(np.array([0.2, 0.7]), np.array([True, True]), group=np.array(["a", "b"]))
    assert answer["roc_auc"] == {"value": None, "low": None, "high": None}
    assert answer["brier"]["value"] is not None
    empty = judge(np.zeros(0), np.zeros(0, bool), group=np.zeros(0, "U1"))
    assert empty["n_real"] == 0
    assert empty["calibration_error"]["value"] is None


def test_rows_without_a_score_are_counted_not_scored() -> None:
    score = np.array([np.nan, 0.9, 0.1])
    answer = judge(score, np.array([True, True, False]), group=np.array(["a", "b", "c"]))
    assert answer["n_without_score"] == 1
    assert answer["roc_auc"]["value"] == 1.0


def test_the_interval_draws_groups_not_rows() -> None:
    rng = np.random.default_rng(2)
    truth = np.tile([True, False], 100)
    score = np.clip(0.5 + 0.2 * (truth - 0.5) + rng.normal(0.0, 0.2, 200), 0, 1)
    # ten copies of each row know no more than one
    many = [np.repeat(values, 10) for values in (score, truth, np.arange(200).astype("U4"))]
    alone = judge(score, truth, group=np.arange(200).astype("U4"))["roc_auc"]
    grouped = judge(many[0], many[1], group=many[2])["roc_auc"]
    rows = judge(many[0], many[1], group=np.arange(2000).astype("U4"))["roc_auc"]
    width = grouped["high"] - grouped["low"]
    assert width == pytest.approx(alone["high"] - alone["low"], rel=0.3)
    assert rows["high"] - rows["low"] < 0.5 * width
    assert grouped["low"] < grouped["value"] < grouped["high"]


def test_one_group_alone_has_a_value_and_no_interval() -> None:
    score, truth = np.array([0.9, 0.2, 0.6]), np.array([True, False, True])
    answer = judge(score, truth, group=np.array(["a", "a", "a"]))
    assert answer["roc_auc"] == {"value": 1.0, "low": None, "high": None}


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths differ"):
        judge(np.zeros(2), np.zeros(3, bool), group=np.zeros(2, "U1"))


def test_curves_hold_the_areas_they_are_drawn_of_and_few_points() -> None:
    rng = np.random.default_rng(5)
    truth = rng.random(4000) < 0.4
    score = np.clip(rng.normal(np.where(truth, 0.65, 0.35), 0.18), 0.0, 1.0)
    found = curves(score, truth)
    assert found is not None
    passing, found_real = np.array(found["roc"]).T
    assert (passing[0], found_real[0], passing[-1], found_real[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert len(passing) <= 101
    # a hundred chords of a smooth curve miss less than a thousandth of its area
    assert np.trapezoid(found_real, passing) == pytest.approx(roc_auc(score, truth), abs=2e-3)
    recall, precision = np.array(found["pr"]).T
    assert np.trapezoid(precision, recall) == pytest.approx(auc_pr(score, truth), abs=5e-3)
    assert sum(count for _, _, count in found["reliability"]) == 4000
    assert curves(score, np.ones(4000, bool)) is None
