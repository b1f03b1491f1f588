"""Real-bogus score from two others: what was measured, and what the cutouts look like."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.networks.scoring import ModelScore

Json = Any

NAME = "combined model"
FORMAT = "astrid-combined-model/1"
WEIGHTS_FILE = Path(__file__).with_name("weights") / "combined.json"
#: Probabilities nearer to 0 or 1 than this say no more than this.
_LEAST = 1e-6


@dataclass(frozen=True)
class CombinedModel:
    """Logistic regression on the logits of a feature model and of a network.

    Attributes
    ----------
    features_sha256, network_sha256 : str
        Of the weights of both: scores of others would mean something else.
    feature_weight, network_weight, intercept : float
        The probability is ``sigmoid(feature_weight * a + network_weight * b + intercept)``.
    record : dict
        How the three numbers were found, and on what the result was judged.
    """

    features_sha256: str
    network_sha256: str
    feature_weight: float
    network_weight: float
    intercept: float
    record: dict[str, Json]

    def __post_init__(self) -> None:
        numbers = (self.feature_weight, self.network_weight, self.intercept)
        if not all(math.isfinite(number) for number in numbers):
            msg = f"weights: need three finite numbers, got {numbers}"
            raise ValueError(msg)

    def combine(self, features: list[ModelScore], network: list[ModelScore]) -> list[ModelScore]:
        """Scores of the same candidates by both, combined; None where either is."""
        return [self._one(f, n) for f, n in zip(features, network, strict=True)]

    def _one(self, features: ModelScore, network: ModelScore) -> ModelScore:
        if features.score is None or network.score is None:
            reason = "; ".join(filter(None, (network.reason, features.reason)))
            return ModelScore(None, None, reason)
        logit = (
            self.feature_weight * _logit(features.score)
            + self.network_weight * _logit(network.score)
            + self.intercept
        )
        score = 0.5 * (1.0 + math.tanh(logit / 2.0))
        return ModelScore(score, self._error(score, network), "")

    def _error(self, score: float, network: ModelScore) -> float | None:
        """The network's error, carried through to the first order; the features give none."""
        if network.score is None or network.score_error is None:
            return None
        inner = min(max(network.score, _LEAST), 1.0 - _LEAST)
        slope = self.network_weight * score * (1.0 - score) / (inner * (1.0 - inner))
        return min(abs(slope) * network.score_error, 0.5)

    def save(self, path: Path) -> None:
        """Write JSON, sorted and readable in a diff."""
        content = {"format": FORMAT, "name": NAME, **vars(self)}
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path = WEIGHTS_FILE) -> CombinedModel:
        """Read a fitted model.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If the file is of another format.
        """
        if not path.is_file():
            msg = f"{path.name}: not there; fit it with `manage.py train_combined`"
            raise FileNotFoundError(msg)
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format", None) != FORMAT:
            msg = f"{path.name}: not of the format {FORMAT!r}"
            raise ValueError(msg)
        del content["name"]
        return cls(**content)


def _logit(score: float) -> float:
    inner = min(max(score, _LEAST), 1.0 - _LEAST)
    return math.log(inner / (1.0 - inner))
