"""Fitting separates what can be separated, and says how well on data it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.errors import AlgorithmError
from detection.training.feature_dataset import LabelledCandidates
from detection.training.feature_fit import (
    complete_rows,
    evaluate_feature_model,
    fit_feature_model,
)


def ring_candidates(n: int, *, seed: int) -> LabelledCandidates:
    """Real inside a disk of two features, bogus outside: not separable without squares."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 1, (2, n))
    is_real = a**2 + b**2 < 1.2
    return LabelledCandidates(
        features=[{"a": float(u), "b": float(v)} for u, v in zip(a, b, strict=True)],
        is_real=is_real,
        regime=["ring"] * n,
        seed=np.full(n, seed),
        score=np.full(n, 6.0),
    )


def test_a_curved_boundary_is_learned_and_holds_on_other_candidates() -> None:
    model = fit_feature_model(ring_candidates(3000, seed=1), version="t", record={})
    metrics = evaluate_feature_model(model, ring_candidates(2000, seed=2))
    assert metrics["roc_auc"] > 0.98
    assert metrics["auc_pr"] > 0.98
    assert metrics["n_real"] + metrics["n_bogus"] == 2000


def test_shuffled_labels_teach_nothing() -> None:
    candidates = ring_candidates(3000, seed=1)
    np.random.default_rng(3).shuffle(candidates.is_real)
    model = fit_feature_model(candidates, version="t", record={})
    metrics = evaluate_feature_model(model, ring_candidates(2000, seed=2))
    assert abs(metrics["roc_auc"] - 0.5) < 0.15


def test_equal_candidates_give_equal_weights() -> None:
    first, second = (
        fit_feature_model(ring_candidates(500, seed=1), version="t", record={}) for _ in range(2)
    )
    assert np.array_equal(first.weights, second.weights)


def test_candidates_with_a_missing_feature_are_left_out_and_counted() -> None:
    candidates = ring_candidates(500, seed=1)
    candidates.features[7]["b"] = None
    rows, is_real = complete_rows(candidates, ["a", "b"])
    assert rows.shape == (499, 2)
    assert len(is_real) == 499
    model = fit_feature_model(candidates, version="t", record={})
    assert evaluate_feature_model(model, candidates)["n_without_score"] == 1


def test_too_few_candidates_are_refused_with_their_numbers() -> None:
    with pytest.raises(AlgorithmError) as error:
        fit_feature_model(ring_candidates(60, seed=1), version="t", record={})
    assert error.value.numbers["n_required"] == 50
