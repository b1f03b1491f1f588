"""Real-bogus score of a candidate from its measured features: a logistic regression on paper."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Json = Any

#: Shown to people beside every score.
NAME = "feature model, trained on simulated skies"
FORMAT = "astrid-feature-model/1"
WEIGHTS_FILE = Path(__file__).with_name("feature_model.json")


@dataclass(frozen=True)
class Feature:
    """How one feature enters the model: clipped to what training saw, then standardised."""

    name: str
    low: float
    high: float
    mean: float
    scale: float


@dataclass(frozen=True)
class FeatureModel:
    """Logistic regression on standardised features, their squares and products.

    Attributes
    ----------
    features : tuple of Feature
        Inputs in order; all are needed.
    weights : NDArray[float64], shape (1 + k + k (k + 1) / 2,)
        Intercept, then one weight for each term of ``quadratic_terms``.
    version : str
        Names this set of weights.
    record : dict
        How it was trained: seeds, simulated regimes, counts, metrics on held-out seeds, and the
        input contract.
    """

    features: tuple[Feature, ...]
    weights: Values
    version: str
    record: dict[str, Json]

    def __post_init__(self) -> None:
        k = len(self.features)
        n_terms = 1 + k + k * (k + 1) // 2
        if self.weights.shape != (n_terms,) or not np.isfinite(self.weights).all():
            msg = (
                f"weights: need {n_terms} finite numbers for {k} features, got {self.weights.shape}"
            )
            raise ValueError(msg)

    @property
    def scorer(self) -> str:
        """Name and version, as stored with every score."""
        return f"{NAME} ({self.version})"

    def predict(self, features: Mapping[str, float | None]) -> float | None:
        """Probability that a candidate is real, or None where a needed feature is missing.

        Parameters
        ----------
        features : mapping
            ``Measurement.features``; further entries are ignored.

        Returns
        -------
        float or None
            Within [0, 1]. None, never a guess, where a feature is absent, None or not finite.
        """
        row = [features.get(feature.name) for feature in self.features]
        values = [value for value in row if value is not None and math.isfinite(value)]
        if len(values) < len(self.features):
            return None
        return float(self.predict_rows(np.array([values], dtype=np.float64))[0])

    def predict_rows(self, rows: Values) -> Values:
        """Probabilities of rows (n, k) of finite features in the model's order."""
        logit = self.weights[0] + quadratic_terms(self._standardise(rows)) @ self.weights[1:]
        return np.asarray(0.5 * (1.0 + np.tanh(logit / 2.0)), dtype=np.float64)

    def _standardise(self, rows: Values) -> Values:
        """Features clipped to the training range, in units of their spread."""
        low, high, mean, scale = (
            np.array([getattr(feature, name) for feature in self.features])
            for name in ("low", "high", "mean", "scale")
        )
        return np.asarray((np.clip(rows, low, high) - mean) / scale, dtype=np.float64)

    def save(self, path: Path) -> None:
        """Write the weights and their training record as JSON, sorted and readable in a diff."""
        content = {
            "format": FORMAT,
            "name": NAME,
            "version": self.version,
            "features": [asdict(feature) for feature in self.features],
            "weights": [float(weight) for weight in self.weights],
            "record": self.record,
        }
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path = WEIGHTS_FILE) -> FeatureModel:
        """Read a trained model.

        Raises
        ------
        FileNotFoundError
            If there are no weights: an untrained model has no score.
        ValueError
            If the file is of another format or its weights do not fit its features.
        """
        if not path.is_file():
            msg = f"{path.name}: no weights; train them with `manage.py train_feature_model`"
            raise FileNotFoundError(msg)
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            msg = f"{path.name}: format {content.get('format')!r} is not {FORMAT!r}"
            raise ValueError(msg)
        return cls(
            features=tuple(Feature(**feature) for feature in content["features"]),
            weights=np.array(content["weights"], dtype=np.float64),
            version=content["version"],
            record=content["record"],
        )


def quadratic_terms(rows: Values) -> Values:
    """Linear terms, then the products i <= j, of standardised rows (n, k)."""
    first, second = np.triu_indices(rows.shape[1])
    return np.concatenate([rows, rows[:, first] * rows[:, second]], axis=1)
