"""A source on another's wing is a candidate of its own where the wing does not explain it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.signal import fftconvolve

from detection.algorithms.candidates import find_candidates
from tests.detection.algorithms.difference_sky import Sky, make_sky, moffat

DISTANCE = 14
#: What the wing of the bright source has where the faint one is [sigma].
WING = 4.0


def blended_sky(own: float) -> Sky:
    """Noiseless score of a bright source and one of ``own`` sigma on its wing, at (124, 100)."""
    psf = moffat()
    score = fftconvolve(psf, psf[::-1, ::-1], mode="full")
    score /= score.max()
    middle = score.shape[0] // 2
    plane = np.zeros((200, 240), np.float32)
    for x, strength in ((110, WING / score[middle, middle + DISTANCE]), (110 + DISTANCE, own)):
        rows, columns = slice(100 - middle, 101 + middle), slice(x - middle, x + 1 + middle)
        plane[rows, columns] += (strength * score).astype(np.float32)
    return replace(make_sky([]), score=plane)


def found_at_faint(own: float) -> int:
    # a high threshold, because only a source well above a wing's slope makes a peak on it
    found = find_candidates(blended_sky(own), threshold=20.0)
    assert np.sum(np.hypot(found.x - 110, found.y - 100) < 1.0) == 1
    return int(np.sum(np.hypot(found.x - 110 - DISTANCE, found.y - 100) < 1.5))


def test_a_source_above_the_threshold_is_found_on_a_wing() -> None:
    # 28 sigma in all; the wing is at most 5.0 anywhere in its ring; 1.1 times that leaves 22.5,
    # where 2.1 times would leave 17.5
    assert found_at_faint(24.0) == 1


def test_a_source_below_the_threshold_is_not_lifted_above_it_by_a_wing() -> None:
    # 23 sigma in all, of which 4 are the wing's and 19 its own
    assert found_at_faint(19.0) == 0
