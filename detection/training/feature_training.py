"""The whole training of the feature model: simulate, fit, judge on held-out seeds, record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from astrid_site.imaging.errors import AlgorithmError
from detection.networks.feature_model import NAME, FeatureModel, Json
from detection.training.feature_dataset import (
    LabelledCandidates,
    join_candidates,
    simulate_candidates,
)
from detection.training.feature_fit import evaluate_feature_model, fit_feature_model
from detection.training.pair_chain import TRAINING_THRESHOLD
from detection.training.regimes import REGIMES, Regime

#: Bump when features or the way they are measured change: old scores then stay tellable.
VERSION = 2


@dataclass(frozen=True)
class TrainingPlan:
    """Seeds and sizes; held-out pairs have seeds of their own, so that no sky is seen twice."""

    seed: int = 1
    n_pairs: int = 3
    n_held_out: int = 1
    regimes: tuple[Regime, ...] = REGIMES

    def seeds(self) -> tuple[list[int], list[int]]:
        """Training seeds and held-out seeds: disjoint, one for each pair and regime."""
        n_train = self.n_pairs * len(self.regimes)
        n_all = n_train + self.n_held_out * len(self.regimes)
        first = 1000 * self.seed
        return list(range(first, first + n_train)), list(range(first + n_train, first + n_all))


def train_feature_model(plan: TrainingPlan, *, progress: Callable[[str], object]) -> FeatureModel:
    """Simulate labelled candidates, fit the model and judge it on held-out seeds.

    Parameters
    ----------
    plan : TrainingPlan
        Seeds, regimes and numbers of pairs.
    progress : callable
        Called with one line for each simulated pair.

    Returns
    -------
    FeatureModel
        With its record: plan, counts, metrics on all held-out candidates, on those of the
        detection threshold of 5 sigma, and of each regime. The same for the same plan.

    Raises
    ------
    AlgorithmError
        If the simulations give too few candidates, or the held-out ones are all of one kind.
    """
    train_seeds, held_out_seeds = plan.seeds()
    training = _collect(plan.regimes, train_seeds, progress=progress)
    held_out = _collect(plan.regimes, held_out_seeds, progress=progress)
    if held_out.is_real.all() or not held_out.is_real.any():
        msg = "the held-out candidates are all real or all bogus: nothing can be judged"
        raise AlgorithmError(msg, n_held_out=len(held_out))
    draft = fit_feature_model(training, version=f"v{VERSION} seed {plan.seed}", record={})
    record = _record(plan, training)
    record["held_out"] = _judge(draft, held_out) | {"seeds": held_out_seeds}
    return FeatureModel(draft.features, draft.weights, version=draft.version, record=record)


def _collect(
    regimes: tuple[Regime, ...], seeds: list[int], *, progress: Callable[[str], object]
) -> LabelledCandidates:
    """Candidates of one pair for each seed, the regimes in turn."""
    parts = []
    for i, seed in enumerate(seeds):
        regime = regimes[i % len(regimes)]
        part = simulate_candidates(regime, seed=seed)
        progress(
            f"{i + 1}/{len(seeds)} {regime.name}: {int(part.is_real.sum())} real, "
            f"{int((~part.is_real).sum())} bogus"
        )
        parts.append(part)
    return join_candidates(parts)


def _record(plan: TrainingPlan, training: LabelledCandidates) -> dict[str, Json]:
    """What was trained on, and what the input must be."""
    return {
        "name": NAME,
        "seed": plan.seed,
        "training_seeds": plan.seeds()[0],
        "regimes": [asdict(regime) for regime in plan.regimes],
        "n_real": int(training.is_real.sum()),
        "n_bogus": int((~training.is_real).sum()),
        "threshold_sigma": TRAINING_THRESHOLD,
        "input_contract": {
            "features": "Measurement.features of detection.algorithms.measurement, version "
            f"{VERSION}; dimensionless, logarithms to base 10",
            "missing": "no score where any feature is missing or not finite",
            "clipping": "each feature to its 0.5 to 99.5 percentile in training",
            "meaning": "probability of a point source that changed, at the real-to-bogus ratio of "
            "these simulations; candidates of either sign",
        },
    }


def _judge(model: FeatureModel, held_out: LabelledCandidates) -> dict[str, Json]:
    """Metrics on all, on the significant, and by regime where both kinds occur."""
    judged: dict[str, Json] = {"all": evaluate_feature_model(model, held_out)}
    subsets = {"score >= 5": np.abs(held_out.score) >= 5.0}
    names = np.array(held_out.regime)
    subsets |= {f"regime {name}": names == name for name in dict.fromkeys(held_out.regime)}
    for name, rows in subsets.items():
        part = _select(held_out, rows)
        if part.is_real.any() and not part.is_real.all():
            judged[name] = evaluate_feature_model(model, part)
    return judged


def _select(candidates: LabelledCandidates, rows: np.ndarray) -> LabelledCandidates:
    """The candidates at True rows."""
    index = np.flatnonzero(rows)
    return LabelledCandidates(
        features=[candidates.features[i] for i in index],
        is_real=candidates.is_real[index],
        regime=[candidates.regime[i] for i in index],
        seed=candidates.seed[index],
        score=candidates.score[index],
    )
