"""Drift: nothing where nothing changed, something where it did, null where too little is known."""

from __future__ import annotations

import numpy as np
import pytest

from detection.training.drift import measure_drift


def test_equal_populations_do_not_drift_and_shifted_ones_do() -> None:
    rng = np.random.default_rng(3)
    before = rng.normal(0.0, 1.0, 800)
    same = measure_drift(before, rng.normal(0.0, 1.0, 800))
    # the index of equal populations is chi-square: 9 x (1/800 + 1/800) on average, 0.06 at most
    assert same.psi == pytest.approx(9 * 2 / 800, abs=0.04)
    assert not same.is_notable
    moved = measure_drift(before, rng.normal(0.8, 1.0, 800))
    # two normals 0.8 apart: distance 2 Phi(0.4) - 1 = 0.31, symmetric divergence 0.8^2
    assert moved.ks == pytest.approx(0.31, abs=0.05)
    assert moved.psi == pytest.approx(0.64, abs=0.15)
    assert moved.is_notable


def test_too_few_values_tell_nothing() -> None:
    few = measure_drift(np.arange(49.0), np.full(60, np.nan))
    assert (few.n_before, few.n_now, few.psi, few.ks) == (49, 0, None, None)
    assert not few.is_notable


def test_a_feature_of_one_value_does_not_drift() -> None:
    # half a value in an empty bin is all that is left
    assert measure_drift(np.ones(100), np.ones(80)).psi == pytest.approx(0.0, abs=1e-3)
