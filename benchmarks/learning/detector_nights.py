"""Simulated nights with every candidate down to 3.8 sigma, its truth and what all models say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astrid_site.imaging.errors import AlgorithmError
from detection.algorithms.cuts import CutConfig, apply_cuts
from detection.algorithms.triplets import stack_planes
from detection.networks.combined import CombinedModel
from detection.networks.feature_model import FeatureModel
from detection.networks.real_bogus_weights import load_ensemble
from detection.networks.scoring import score_cutouts, score_features
from detection.training.nights import simulate_night
from detection.training.pair_chain import Places, difference_pair, label_places
from detection.training.scored_pairs import values_of
from detection.training.unet_scenes import draw_faint_night

#: Peaks are collected from here on: far below any threshold that is compared.
FLOOR = 3.8
#: Ideal S/N of the transients in the later frame alone; in the difference it is less.
_SNR_RANGE, _PER_MPIX = (3.5, 14.0), 260.0


@dataclass(frozen=True)
class Night:
    """One difference.

    Attributes
    ----------
    planes : array (4, ny, nx)
        As the U-Net sees them.
    fwhm : float
        Of the difference's PSF [pix].
    changes, snr : arrays (m, 3) and (m,)
        The truth; S/N in the best difference, NaN for variable stars.
    table : array (n, 8)
        x, y, score, sign, label, nearest change, passes the cuts, combined model's score.
    """

    planes: np.ndarray
    fwhm: float
    changes: np.ndarray
    snr: np.ndarray
    table: np.ndarray


def nights(folder: Path, seeds: range, *, progress: Callable[[str], object]) -> Iterator[Night]:
    """The nights of those seeds that the engine does not refuse, made where they are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    models = FeatureModel.load(), load_ensemble(), CombinedModel.load()
    for seed in seeds:
        path = folder / f"night-{seed:06d}.npz"
        if not path.exists():
            try:
                night = _make(seed, models)
            except AlgorithmError as error:
                progress(f"night {seed}: refused: {error}")
                continue
            draft = path.with_suffix(".draft")
            with draft.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **vars(night))
            draft.replace(path)
            progress(f"night {seed}: {len(night.table)} peaks, {len(night.snr)} changes")
        with np.load(path, allow_pickle=False) as stored:
            parts = {name: stored[name] for name in stored if name != "fwhm"}
            yield Night(fwhm=float(stored["fwhm"]), **parts)


def _make(seed: int, models: tuple[FeatureModel, object, CombinedModel]) -> Night:
    night = draw_faint_night(seed, snr_range=_SNR_RANGE, per_mpix=_PER_MPIX)
    raw = simulate_night(night, np.random.default_rng([seed, 64]))
    made = difference_pair(raw, night.treatment)
    measured = made.measure(made.find(FLOOR))
    places = Places.of(measured)
    label, nearest = label_places(places, raw.changes, fwhm_pix=made.fwhm_pix)
    cuts = CutConfig(min_score=FLOOR)
    kept = [all(cut.kept for cut in apply_cuts(m, cuts)) for m in measured]
    features, ensemble, combined = models
    said = combined.combine(
        score_features(features, [m.features for m in measured]),
        score_cutouts(ensemble, made.cut(places.x, places.y)),
    )
    table = [
        places.x,
        places.y,
        [m.score for m in measured],
        places.sign,
        label,
        nearest,
        kept,
        values_of(said),
    ]
    planes = stack_planes(made.science, made.template, made.difference)
    seen = _is_seen(planes[2], raw.changes)
    return Night(
        planes=planes,
        fwhm=made.fwhm_pix,
        changes=raw.changes,
        # what lies on masked pixels is nobody's to find
        snr=np.where(seen, raw.snr, np.nan),
        table=np.column_stack(table).astype(np.float64),
    )


def _is_seen(difference: np.ndarray, changes: np.ndarray) -> np.ndarray:
    ny, nx = difference.shape
    column = np.clip(np.rint(changes[:, 0]).astype(int), 0, nx - 1)
    row = np.clip(np.rint(changes[:, 1]).astype(int), 0, ny - 1)
    return np.isfinite(difference[row, column])
