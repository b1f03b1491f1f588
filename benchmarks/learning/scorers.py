"""Feature model against network on the same candidates, none of which either has learnt from.

    ASTRID_TEST_DATA=folder python -m benchmarks.learning.scorers [--weights FILE] [--pairs 20]

Three sets: the feature model's own regimes at other seeds, the network's own nights at other seeds,
and the real DECam null pairs, which the network's split keeps for its test. Intervals by drawing
pairs with replacement. "Kept" are candidates that pass every cut: what a person is shown.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from detection.algorithms.candidates import Candidates, find_candidates
from detection.algorithms.cuts import CutConfig, apply_cuts
from detection.algorithms.measurement import measure
from detection.algorithms.triplets import cut_triplets
from detection.management.commands.build_triplets import read_raw
from detection.networks.feature_model import FeatureModel
from detection.networks.real_bogus_weights import WEIGHTS_FILE, load_ensemble
from detection.training import feature_dataset, triplet_engine
from detection.training.metrics import judge
from detection.training.real_bogus_evaluation import reduction
from detection.training.regimes import REGIMES
from detection.training.triplet_builder import _NIGHTS
from differencing.algorithms.subtract import subtract
from differencing.algorithms.subtraction import SubtractionConfig
from preprocessing.algorithms.preprocess import PreprocessConfig, preprocess_image
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.warp import warp

#: The detection threshold of the pipeline [sigma].
THRESHOLD = 5.0
#: Seeds that neither training has used.
REGIME_SEED, NIGHT_SEED = 7_000, 900_000


@dataclass(frozen=True)
class Pair:
    """Two raw frames, the true changes (x, y, sign) and how they are treated."""

    earlier: Image
    later: Image
    changes: np.ndarray
    finds_cosmic_rays: bool
    is_aligned: bool
    subtraction: SubtractionConfig


@dataclass(frozen=True)
class Judged:
    """What both scorers say of candidates; the names are those that ``reduction`` reads."""

    is_real: np.ndarray
    is_kept: np.ndarray
    snr: np.ndarray
    group: np.ndarray
    scores: dict[str, np.ndarray]

    def select(self, rows: np.ndarray) -> Judged:
        scores = {name: values[rows] for name, values in self.scores.items()}
        parts = (values[rows] for values in (self.is_real, self.is_kept, self.snr, self.group))
        return Judged(*parts, scores=scores)


def regime_pairs() -> Iterator[Pair]:
    """The feature model's regimes in turn."""
    seed = REGIME_SEED
    while True:
        for regime in REGIMES:
            made = feature_dataset._simulate(regime, seed=seed)
            yield Pair(
                made.earlier,
                made.later,
                made.changes,
                regime.find_cosmic_rays,
                regime.aligned,
                regime.subtraction,
            )
            seed += 1


def night_pairs() -> Iterator[Pair]:
    """Nights as the network's training draws them."""
    seed = NIGHT_SEED
    while True:
        night = triplet_engine.draw_night(seed)
        made = triplet_engine._simulate(night, np.random.default_rng([seed, 64]))
        yield Pair(
            made.earlier,
            made.later,
            made.changes,
            night.finds_cosmic_rays,
            night.is_aligned,
            night.subtraction,
        )
        seed += 1


def null_pairs(part: str) -> Iterator[Pair]:
    """Real frames of one night with sources put in."""
    folder = Path(os.environ["ASTRID_TEST_DATA"]) / part
    for i, night in enumerate(_NIGHTS[part]):
        for j, name in enumerate(night[1:]):
            later = read_raw(folder / name)
            first = preprocess_image(later)
            injected, changes, _ = triplet_engine._inject(
                later, first, first.image.psf, rng=np.random.default_rng([i, j, 67]), n_sources=40
            )
            earlier = read_raw(folder / night[0])
            yield Pair(earlier, injected, changes, True, False, SubtractionConfig())


def judge_pair(pair: Pair, *, group: str, model: FeatureModel, ensemble: object) -> Judged:
    """Run the pipeline on one pair and score its labelled candidates both ways."""
    config = PreprocessConfig(find_cosmic_rays=pair.finds_cosmic_rays)
    earlier, later = (
        preprocess_image(triplet_engine._as_delivered(frame), config)
        for frame in (pair.earlier, pair.later)
    )
    found = register(
        earlier.image,
        earlier.stars,
        later.image,
        science_stars=later.stars,
        aligned=pair.is_aligned,
    )
    template = warp(earlier.image, found, shape=later.image.shape)
    made = subtract(template, later.image, stars=later.stars, config=pair.subtraction)
    peaks = find_candidates(made, threshold=THRESHOLD)
    measured = measure(made, template, later.image, peaks, stars=later.stars)
    x, y = (np.array([getattr(m, axis) for m in measured], dtype=float) for axis in "xy")
    sign = np.array([m.sign for m in measured])
    kinds = [""] * len(pair.changes)
    frames = triplet_engine._Frames(pair.earlier, pair.later, pair.changes, kinds)
    score = np.array([m.score for m in measured], dtype=float)
    label, _ = triplet_engine._label(
        Candidates(x=x, y=y, score=score, sign=sign), frames, fwhm_pix=made.psf.fwhm_pix
    )
    planes = cut_triplets(later.image, template, made, x, y)[:, :3]
    network = ensemble.score(np.ascontiguousarray(np.moveaxis(planes, 1, -1))).score
    features = [model.predict(m.features) for m in measured]
    cut = CutConfig(min_score=THRESHOLD)
    all_rows = Judged(
        is_real=label == 1,
        is_kept=np.array([all(c.kept for c in apply_cuts(m, cut)) for m in measured], dtype=bool),
        snr=np.abs(score),
        group=np.array([group] * len(measured), dtype="U64"),
        scores={
            "feature model": np.array([np.nan if v is None else v for v in features], float),
            "network": network,
        },
    )
    return all_rows.select(label >= 0)


def collect(name: str, pairs: Iterator[Pair], *, model: FeatureModel, ensemble: object) -> Judged:
    """All pairs of one set; those that the engine refuses give no candidates to anybody."""
    parts = []
    for i, pair in enumerate(pairs):
        try:
            parts.append(judge_pair(pair, group=f"{name}-{i}", model=model, ensemble=ensemble))
        except AlgorithmError as error:
            print(f"{name} {i}: refused: {error}", flush=True)
    joined = (
        np.concatenate([getattr(part, key) for part in parts])
        for key in ("is_real", "is_kept", "snr", "group")
    )
    names = parts[0].scores
    scores = {key: np.concatenate([part.scores[key] for part in parts]) for key in names}
    return Judged(*joined, scores=scores)


def interval(figure: dict[str, float | None]) -> str:
    """A figure with its bounds."""
    if figure["value"] is None:
        return "-"
    bounds = "" if figure["low"] is None else f" ({figure['low']:.3f} to {figure['high']:.3f})"
    return f"{figure['value']:.3f}{bounds}"


def report(name: str, found: Judged) -> None:
    """Rows of the table: both scorers and their mean, on all candidates and on the kept."""
    for part, rows in (("all", np.ones(len(found.snr), bool)), ("kept", found.is_kept)):
        chosen = found.select(rows)
        scores = dict(chosen.scores)
        scores["mean of both"] = np.mean(list(scores.values()), axis=0)
        for scorer, score in scores.items():
            told = judge(score, chosen.is_real, group=chosen.group)
            known = np.isfinite(score)
            less = reduction(score[known], chosen.select(known))
            print(
                f"| {name} | {part} | {told['n_real']} | {told['n_bogus']} | {scorer} | "
                f"{interval(told['roc_auc'])} | {interval(told['auc_pr'])} | "
                f"{interval(told['calibration_error'])} | {less['factor']} | "
                f"{told['n_without_score']} |",
                flush=True,
            )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FILE)
    parser.add_argument("--pairs", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scorers = {"model": FeatureModel.load(), "ensemble": load_ensemble(options.weights)}
    sets = {
        "feature model's regimes": islice(regime_pairs(), options.pairs),
        "network's nights": islice(night_pairs(), options.pairs),
        "real null pairs, DECam": null_pairs("decam_2018_transient/input_data"),
    }
    print("| on | which | real | bogus | scorer | ROC AUC | AUCPR | ECE | fewer bogus | no score |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, pairs in sets.items():
        report(name, collect(name, pairs, **scorers))


if __name__ == "__main__":
    main()
