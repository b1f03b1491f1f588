"""Triplets of candidates that the pipeline itself finds, on simulated skies and on real null pairs.

A null pair is two real frames so close in time that nothing changes: what is found there is bogus,
and what is put in beforehand is real.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.image import Image
from detection.training.nights import draw_night, simulate_night
from detection.training.pair_chain import (
    TRAINING_THRESHOLD,
    DifferencedPair,
    RawPair,
    Treatment,
    difference_frames,
    difference_pair,
    label_places,
)
from detection.training.pair_faults import inject_sources
from detection.training.triplet_samples import TripletSamples
from preprocessing.algorithms.preprocess import preprocess_image

#: So many bogus at most from one pair, drawn at random: a failed subtraction must not outvote.
_MAX_BOGUS = 120


def simulate_engine_triplets(seed: int) -> TripletSamples:
    """Candidates of one simulated pair, cut by the pipeline and labelled by its truth.

    Parameters
    ----------
    seed : int
        Of the sky, the camera, the night and its faults.

    Returns
    -------
    TripletSamples
        All of one group; survey "engine".

    Raises
    ------
    AlgorithmError
        If the frames drawn cannot be subtracted at all.
    """
    night = draw_night(seed)
    rng = np.random.default_rng([seed, 64])
    pair = simulate_night(night, rng)
    made = difference_pair(pair, night.treatment)
    return _cut_and_label(made, pair, rng, survey="engine", group=f"engine-{seed}")


def null_pair_triplets(
    earlier: Image, later: Image, *, survey: str, group: str, seed: int, n_injected: int = 40
) -> TripletSamples:
    """Candidates of two real frames between which nothing changed but what is put in.

    Parameters
    ----------
    earlier, later : Image
        Raw frames of one field, minutes to hours apart.
    survey, group : str
        Kept with every sample; frames of one field are one group.
    seed : int
        Of positions and fluxes of what is put into the later frame.
    n_injected : int
        How many point sources to put in.

    Returns
    -------
    TripletSamples

    Raises
    ------
    AlgorithmError
        If a frame has no PSF or the pair cannot be subtracted.
    """
    rng = np.random.default_rng([seed, 65])
    pair = inject_sources(earlier, later, rng, n_sources=n_injected)
    # a real frame's own masks are kept: they were delivered with it
    made = difference_frames(preprocess_image(earlier), preprocess_image(pair.later), Treatment())
    return _cut_and_label(made, pair, rng, survey=survey, group=group)


def _cut_and_label(
    made: DifferencedPair, pair: RawPair, rng: np.random.Generator, *, survey: str, group: str
) -> TripletSamples:
    """Find, cut and label."""
    peaks = made.find(TRAINING_THRESHOLD)
    label, nearest = label_places(peaks, pair.changes, fwhm_pix=made.fwhm_pix)
    chosen = _choose(label, rng)
    peaks = peaks.select(chosen)
    planes = made.cut(peaks.x, peaks.y)[:, :3]
    n = len(chosen)
    kinds = [pair.kinds[nearest[i]] if label[i] == 1 else "residual" for i in chosen]
    return TripletSamples(
        triplets=np.ascontiguousarray(np.moveaxis(planes, 1, -1)),
        is_real=label[chosen] == 1,
        kind=np.array(kinds, dtype="U32"),
        group=np.array([group] * n, dtype="U64"),
        survey=np.array([survey] * n, dtype="U32"),
        snr=np.abs(peaks.score),
    )


def _choose(label: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """All real and a bounded number of bogus, in the order found."""
    bogus = np.flatnonzero(label == 0)
    if len(bogus) > _MAX_BOGUS:
        bogus = rng.choice(bogus, size=_MAX_BOGUS, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(label == 1), bogus]))
