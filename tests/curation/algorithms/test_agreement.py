"""Agreement beyond chance, shares with their intervals, and pace."""

from __future__ import annotations

import numpy as np
import pytest

from curation.algorithms.agreement import Share, cohen_kappa, slope_per_hundred


def test_kappa_of_the_textbook() -> None:
    # 20 both yes, 15 both no, 5 and 10 differ: kappa 0.4
    mine = ["yes"] * 25 + ["no"] * 25
    theirs = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(mine, theirs) == pytest.approx(0.4)


def test_kappa_says_nothing_of_few_answers_or_of_one_answer_alone() -> None:
    assert cohen_kappa(["real"] * 9, ["bogus"] * 9) is None
    assert cohen_kappa(["real"] * 30, ["real"] * 30) is None


def test_a_share_has_the_interval_of_wilson() -> None:
    assert Share.of(0, 0).value is None
    share = Share.of(1, 4)
    assert (share.value, share.low, share.high) == pytest.approx((0.25, 0.0456, 0.6994), abs=1e-3)


def test_pace_that_drifts_is_told_and_steady_pace_is_not() -> None:
    rng = np.random.default_rng(5)
    noise = rng.lognormal(0.0, 0.5, 400)
    slower = slope_per_hundred(2.0 * noise * 1.5 ** (np.arange(400) / 100))
    # of 400 times that scatter by a factor 1.65 the slope is known to some 4 % per hundred
    assert slower == pytest.approx(0.5, abs=0.15)
    assert slope_per_hundred(2.0 * noise) == pytest.approx(0.0, abs=0.12)
    assert slope_per_hundred([1.0] * 29) is None
