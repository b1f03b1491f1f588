"""Two scores become one: monotone, with the error carried through, and None where one is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detection.networks.combined import CombinedModel
from detection.networks.scoring import ModelScore
from detection.training.combined_fit import fit_terms
from detection.training.scored_pairs import ScoredCandidates

MODEL = CombinedModel("a" * 64, "b" * 64, 0.9, 0.7, -0.5, record={})


def said(score: float | None, error: float | None = None) -> ModelScore:
    return ModelScore(score, error, "" if score is not None else "no idea")


def test_either_score_moves_it_the_same_way() -> None:
    features = [said(value) for value in (0.1, 0.5, 0.9)]
    by_features = MODEL.combine(features, [said(0.5)] * 3)
    by_network = MODEL.combine([said(0.5)] * 3, features)
    for scores in (by_features, by_network):
        assert scores[0].score < scores[1].score < scores[2].score  # type: ignore[operator]
    # two halves leave the intercept alone
    assert by_features[1].score == pytest.approx(1 / (1 + np.exp(0.5)))


def test_certainty_stays_within_a_probability() -> None:
    for value in (0.0, 1.0):
        (score,) = MODEL.combine([said(value)], [said(value, 0.01)])
        assert score.score == pytest.approx(value, abs=1e-6)
        assert score.score_error is not None
        assert 0.0 <= score.score_error <= 0.5


def test_the_error_is_what_moving_the_network_by_its_own_does() -> None:
    step = 1e-4
    (low,) = MODEL.combine([said(0.6)], [said(0.3)])
    (high,) = MODEL.combine([said(0.6)], [said(0.3 + step)])
    (told,) = MODEL.combine([said(0.6)], [said(0.3, step)])
    assert told.score_error == pytest.approx(high.score - low.score, rel=1e-3)  # type: ignore[operator]
    assert low.score_error is None


def test_where_either_is_silent_so_is_the_whole() -> None:
    for features, network in ((said(None), said(0.5)), (said(0.5), said(None))):
        (score,) = MODEL.combine([features], [network])
        assert score == ModelScore(None, None, "no idea")


def test_it_is_kept_as_readable_text_and_refused_when_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    MODEL.save(path)
    assert CombinedModel.load(path) == MODEL
    path.write_text(path.read_text().replace("combined-model/1", "other/1"))
    with pytest.raises(ValueError, match="not of the format"):
        CombinedModel.load(path)
    with pytest.raises(FileNotFoundError, match="train_combined"):
        CombinedModel.load(tmp_path / "none.json")
    with pytest.raises(ValueError, match="three finite"):
        CombinedModel("a", "b", float("nan"), 1.0, 1.0, record={})


def test_the_fit_finds_the_weights_that_were_put_in() -> None:
    rng = np.random.default_rng(8)
    n = 20_000
    logits = rng.normal(0.0, 1.5, (2, n))
    truth = rng.random(n) < 1 / (1 + np.exp(-(0.9 * logits[0] + 0.5 * logits[1])))
    columns = []
    for values in logits:
        column = np.empty(n, dtype=object)
        column[:] = [said(float(p)) for p in 1 / (1 + np.exp(-values))]
        columns.append(column)
    part = ScoredCandidates(truth, truth, np.ones(n), np.array(["g"] * n), *columns)
    first, second, intercept = fit_terms([part])
    # 20 000 draws fix a logistic slope to about 2 %; the classes are nearly as many
    assert (first, second) == pytest.approx((0.9, 0.5), abs=0.06)
    assert intercept == pytest.approx(0.0, abs=0.06)


def test_the_shipped_one_is_made_of_the_shipped_ones() -> None:
    import hashlib

    from detection.networks import feature_model, real_bogus_weights

    model = CombinedModel.load()
    files = (feature_model.WEIGHTS_FILE, real_bogus_weights.WEIGHTS_FILE)
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert [model.features_sha256, model.network_sha256] == hashes
