"""Simulated candidates carry the labels of the simulation's truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.sky_pair import PairConfig
from detection.training.feature_dataset import simulate_candidates
from detection.training.feature_training import TrainingPlan, train_feature_model
from detection.training.regimes import Regime

SMALL = Regime(
    "small",
    PairConfig(
        shape=(384, 384),
        transient_density_per_mpix=200.0,
        transient_snr=(8.0, 50.0),
        star_density_per_mpix=1500.0,
    ),
)


@pytest.mark.parametrize("is_swapped", [False, True])
def test_transients_are_labelled_real_with_the_sign_of_their_change(is_swapped: bool) -> None:
    candidates = simulate_candidates(replace(SMALL, is_swapped=is_swapped), seed=5)
    # 29 transients at S/N 8 and more, a few of them lost under saturated stars and masks
    assert candidates.is_real.sum() >= 20
    signs = np.sign(candidates.score[candidates.is_real])
    assert (signs == (-1 if is_swapped else 1)).all()
    complete = [all(v is not None for v in row.values()) for row in candidates.features]
    assert np.mean(complete) > 0.95


def test_variable_stars_are_real_whether_they_rise_or_fade() -> None:
    quiet = replace(SMALL.pair, transient_density_per_mpix=0.0)
    candidates = simulate_candidates(replace(SMALL, pair=quiet, n_variable_stars=12), seed=5)
    signs = np.sign(candidates.score[candidates.is_real])
    assert len(signs) >= 8
    assert set(signs) == {-1.0, 1.0}


def test_the_same_seed_gives_the_same_candidates() -> None:
    first, second = (simulate_candidates(SMALL, seed=9) for _ in range(2))
    assert first.features == second.features
    assert np.array_equal(first.is_real, second.is_real)


def test_seeds_of_training_and_judgement_are_disjoint() -> None:
    train, held_out = TrainingPlan(seed=3, n_pairs=4, n_held_out=2).seeds()
    assert not set(train) & set(held_out)
    assert len(train) == 2 * len(held_out)
    other, _ = TrainingPlan(seed=4, n_pairs=4, n_held_out=2).seeds()
    assert not set(train) & set(other)


@pytest.mark.slow
def test_a_training_separates_real_from_bogus_and_records_itself() -> None:
    dirty = replace(SMALL, name="dirty", find_cosmic_rays=False, n_warm_columns=4)
    plan = TrainingPlan(seed=2, n_pairs=4, n_held_out=2, regimes=(SMALL, dirty))
    lines: list[str] = []
    model = train_feature_model(plan, progress=lines.append)
    assert len(lines) == 12
    record = model.record
    assert record["held_out"]["all"]["roc_auc"] > 0.9
    assert set(record["training_seeds"]).isdisjoint(record["held_out"]["seeds"])
    assert record["n_real"] > 100
