"""The feature model scores what it was trained for, and nothing else."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from detection.networks.feature_model import (
    NAME,
    Feature,
    FeatureModel,
    quadratic_terms,
)


def small_model() -> FeatureModel:
    features = (
        Feature("a", low=-1.0, high=3.0, mean=1.0, scale=2.0),
        Feature("b", low=0.0, high=1.0, mean=0.5, scale=0.5),
    )
    weights = np.array([0.5, 1.0, -2.0, 0.1, 0.2, 0.3])
    return FeatureModel(features, weights, version="v1 seed 1", record={"seed": 1})


def test_the_score_is_the_logistic_of_the_quadratic_form() -> None:
    u, v = (2.0 - 1.0) / 2.0, (0.25 - 0.5) / 0.5
    logit = 0.5 + u - 2.0 * v + 0.1 * u * u + 0.2 * u * v + 0.3 * v * v
    score = small_model().predict({"a": 2.0, "b": 0.25, "unused": None})
    assert score == pytest.approx(1.0 / (1.0 + math.exp(-logit)))


@pytest.mark.parametrize(
    "features", [{}, {"a": 1.0}, {"a": 1.0, "b": None}, {"a": math.nan, "b": 1.0}]
)
def test_a_missing_feature_gives_no_score(features: dict[str, float | None]) -> None:
    assert small_model().predict(features) is None


def test_values_beyond_training_score_as_its_edge() -> None:
    model = small_model()
    assert model.predict({"a": 1e9, "b": 0.5}) == model.predict({"a": 3.0, "b": 0.5})


def test_terms_are_the_linear_ones_then_the_products() -> None:
    assert quadratic_terms(np.array([[2.0, 3.0]])).tolist() == [[2.0, 3.0, 4.0, 6.0, 9.0]]


def test_a_saved_model_scores_the_same_after_loading(tmp_path) -> None:
    path = tmp_path / "model.json"
    small_model().save(path)
    loaded = FeatureModel.load(path)
    row = {"a": 0.3, "b": 0.9}
    assert loaded.predict(row) == small_model().predict(row)
    assert loaded.record == {"seed": 1}
    assert loaded.scorer == f"{NAME} (v1 seed 1)"
    assert NAME == "feature model, trained on simulated skies"


def test_without_weights_there_is_no_model(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="train_feature_model"):
        FeatureModel.load(tmp_path / "absent.json")


def test_foreign_or_incomplete_weights_are_refused(tmp_path) -> None:
    path = tmp_path / "model.json"
    small_model().save(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"format": "other"}))
    with pytest.raises(ValueError, match="format"):
        FeatureModel.load(path)
    path.write_text(json.dumps(content | {"weights": content["weights"][:-1]}))
    with pytest.raises(ValueError, match="weights"):
        FeatureModel.load(path)


def test_the_shipped_weights_were_trained_and_judged_on_other_seeds() -> None:
    model = FeatureModel.load()
    record = model.record
    assert not set(record["training_seeds"]) & set(record["held_out"]["seeds"])
    assert record["n_real"] > 1000
    assert record["n_bogus"] > 300
    held_out = record["held_out"]["all"]
    assert held_out["n_real"] > 300
    assert held_out["auc_pr"] > 0.97
    assert held_out["roc_auc"] > 0.95
    # stored beside every score in 60 characters
    assert len(model.scorer) <= 60
