"""Fit the combined model on pairs that neither of its parts has learnt from, and judge it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from astrid_site.imaging.image import Image
from detection.networks.combined import CombinedModel
from detection.networks.feature_model import FeatureModel
from detection.networks.real_bogus import RealBogusEnsemble
from detection.training.metrics import compare, curves, judge
from detection.training.real_bogus_evaluation import reduction
from detection.training.scored_pairs import (
    Progress,
    ScoredCandidates,
    TreatedPair,
    night_pairs,
    null_pairs,
    regime_pairs,
    score_pairs,
    values_of,
)

Json = Any
Values = NDArray[np.float64]

#: Frames that the network's split keeps for its test.
HELD_OUT_FRAMES = "decam_2018_transient/input_data"
_LEAST = 1e-6


@dataclass(frozen=True)
class CombinedPlan:
    """Pairs of each of the two kinds, and where their seeds begin: beyond those of the parts."""

    n_pairs: int = 14
    n_held_out: int = 24
    regime_seed: int = 8_000
    night_seed: int = 910_000
    held_out_regime_seed: int = 7_000
    held_out_night_seed: int = 900_000


def train_combined(
    plan: CombinedPlan,
    *,
    parts: tuple[FeatureModel, RealBogusEnsemble],
    hashes: tuple[str, str],
    read_raw: Callable[[str], Image] | None,
    progress: Progress,
) -> CombinedModel:
    """Fit on simulated pairs, judge on others and on real null pairs.

    Parameters
    ----------
    plan : CombinedPlan
        Numbers of pairs and their seeds.
    parts : tuple of FeatureModel and RealBogusEnsemble
        What is combined.
    hashes : tuple of str
        SHA-256 of their weights.
    read_raw : callable, optional
        Reads a file of the test data; None to judge without real frames.
    progress : callable
        Gets one line for each pair.

    Returns
    -------
    CombinedModel
        With the figures of all three in its record.
    """

    def score(name: str, pairs: Iterator[TreatedPair]) -> ScoredCandidates:
        model, ensemble = parts
        return score_pairs(name, pairs, model=model, ensemble=ensemble, progress=progress)

    training = [
        score("regimes", islice(regime_pairs(plan.regime_seed), plan.n_pairs)),
        score("nights", islice(night_pairs(plan.night_seed), plan.n_pairs)),
    ]
    terms = fit_terms(training)
    held_out = {
        "feature model's regimes": score(
            "held-out regimes", islice(regime_pairs(plan.held_out_regime_seed), plan.n_held_out)
        ),
        "network's nights": score(
            "held-out nights", islice(night_pairs(plan.held_out_night_seed), plan.n_held_out)
        ),
    }
    if read_raw is not None:
        held_out["real null pairs, DECam"] = score(
            "null pairs", null_pairs(HELD_OUT_FRAMES, read_raw=read_raw)
        )
    draft = CombinedModel(*hashes, *terms, record={})
    record = {
        "plan": asdict(plan),
        "n_real": sum(int(part.is_real.sum()) for part in training),
        "n_bogus": sum(int((~part.is_real).sum()) for part in training),
        "held_out": judge_combined(draft, held_out, plan=plan),
    }
    return CombinedModel(*hashes, *terms, record=record)


def fit_terms(parts: list[ScoredCandidates]) -> tuple[float, float, float]:
    """Weights of both logits and the intercept, real and bogus of all pairs counting alike.

    Rounded to a millionth, so that the same pairs give the same file.
    """
    a, b = (
        np.concatenate([_logits(getattr(p, n)) for p in parts]) for n in ("features", "network")
    )
    is_real = np.concatenate([part.is_real for part in parts])
    known = np.isfinite(a) & np.isfinite(b)
    a, b, is_real = a[known], b[known], is_real[known]
    weight = np.where(is_real, 0.5 / is_real.mean(), 0.5 / (1.0 - is_real.mean()))

    def loss(terms: Values) -> float:
        z = terms[0] * a + terms[1] * b + terms[2]
        return float(np.average(np.logaddexp(0.0, z) - is_real * z, weights=weight))

    found = minimize(loss, np.array([0.5, 0.5, 0.0]), method="BFGS", options={"gtol": 1e-8})
    first, second, intercept = (round(float(value), 6) for value in found.x)
    return first, second, intercept


def judge_combined(
    model: CombinedModel, held_out: dict[str, ScoredCandidates], *, plan: CombinedPlan
) -> dict[str, Json]:
    """Figures of all three scores on each set, on all candidates and on those a person is shown."""
    simulated = [part for name, part in held_out.items() if not name.startswith("real")]
    scores = np.concatenate([values_of(_combine(model, part)) for part in simulated])
    truth = np.concatenate([part.is_real for part in simulated])
    groups = np.concatenate([part.group for part in simulated])
    known = np.isfinite(scores)
    name = json.dumps(asdict(plan), sort_keys=True)
    return {
        "dataset_sha256": hashlib.sha256(f"pairs {name}".encode()).hexdigest(),
        "simulated": {
            "all": judge(scores, truth, group=groups),
            "curves": curves(scores[known], truth[known]),
        },
        "sets": {
            name: {
                "all": _judge_set(model, part),
                "kept": _judge_set(model, part.select(part.is_kept)),
            }
            for name, part in held_out.items()
        },
    }


def _judge_set(model: CombinedModel, found: ScoredCandidates) -> dict[str, Json]:
    """Each score by itself, and by how much the combined one is better than either."""
    scores = {
        "feature model": values_of(found.features),
        "network": values_of(found.network),
        "combined": values_of(_combine(model, found)),
    }
    known = np.all([np.isfinite(values) for values in scores.values()], axis=0)
    told: dict[str, Json] = {"n_without_score": int((~known).sum())}
    part = found.select(known)
    for name, values in scores.items():
        told[name] = {
            **judge(values[known], part.is_real, group=part.group),
            "reduction_at_1pct_loss": reduction(values[known], part),
        }
    for name in ("feature model", "network"):
        told[f"AUCPR above {name}"] = compare(
            scores["combined"][known], scores[name][known], part.is_real, group=part.group
        )
    return told


def _combine(model: CombinedModel, found: ScoredCandidates) -> list[Any]:
    return model.combine(list(found.features), list(found.network))


def _logits(scores: NDArray[Any]) -> Values:
    values = np.clip(values_of(scores), _LEAST, 1.0 - _LEAST)
    return np.asarray(np.log(values / (1.0 - values)))
