"""Peaks of the network's map become candidates at the score's peak beside them."""

from __future__ import annotations

import numpy as np
import pytest

from detection.algorithms.candidates import Candidates
from detection.networks.unet_peaks import find_changes, join_apart


def blobs(*places: tuple[int, int, float]) -> np.ndarray:
    """Gaussians of sigma 1 at (x, y) of a height, on 40 x 50 pixels."""
    y, x = np.mgrid[:40, :50]
    total = np.zeros((40, 50))
    for cx, cy, height in places:
        total += height * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2))
    return total.astype(np.float32)


def test_peaks_are_found_surest_first_with_the_sign_of_the_score() -> None:
    change = blobs((10, 20, 0.8), (30, 12, 0.95), (40, 30, 0.4))
    score = blobs((11, 20, 4.4), (30, 12, -6.0), (40, 30, 9.0))
    seen = find_changes(change, score, threshold=0.5, separation_pix=3.0)
    assert len(seen) == 2
    assert seen.candidates.x.tolist() == [30.0, 11.0]
    assert seen.candidates.y.tolist() == [12.0, 20.0]
    assert seen.candidates.sign.tolist() == [-1, 1]
    assert seen.candidates.score == pytest.approx([-6.0, 4.4], rel=1e-5)
    assert seen.probability == pytest.approx([0.95, 0.8], rel=1e-5)


def test_two_peaks_closer_than_the_seeing_are_one() -> None:
    change = blobs((10, 20, 0.9), (14, 20, 0.8))
    score = blobs((10, 20, 6.0), (14, 20, 5.0))
    assert len(find_changes(change, score, threshold=0.5, separation_pix=5.0)) == 1
    assert len(find_changes(change, score, threshold=0.5, separation_pix=2.0)) == 2


def test_one_peak_of_the_score_is_one_candidate() -> None:
    change = blobs((10, 20, 0.9), (12, 20, 0.7))
    seen = find_changes(change, blobs((11, 20, 6.0)), threshold=0.5, separation_pix=1.0)
    assert seen.candidates.x.tolist() == [11.0]


def test_masked_scores_and_frame_edges_do_no_harm() -> None:
    change = blobs((0, 0, 0.9), (49, 39, 0.9))
    score = np.full((40, 50), np.nan, dtype=np.float32)
    seen = find_changes(change, score, threshold=0.5, separation_pix=3.0)
    assert (seen.candidates.score == 0).all()
    with pytest.raises(ValueError, match="probability"):
        find_changes(change, score, threshold=1.0, separation_pix=3.0)
    with pytest.raises(ValueError, match="shapes differ"):
        find_changes(change, score[1:], threshold=0.5, separation_pix=3.0)


def test_what_another_detector_has_already_is_not_taken_twice() -> None:
    def at(*x: float) -> Candidates:
        n = len(x)
        return Candidates(np.array(x), np.zeros(n), np.full(n, 5.0), np.ones(n, dtype=np.int64))

    assert join_apart(at(10.0, 20.0), at(11.0, 30.0), separation_pix=2.0).x.tolist() == [10, 20, 30]
    assert join_apart(at(), at(11.0), separation_pix=2.0).x.tolist() == [11]
    assert join_apart(at(10.0), at(), separation_pix=2.0).x.tolist() == [10]
