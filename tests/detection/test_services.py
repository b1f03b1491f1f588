"""Detection's guard against a subtraction gone wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.psf import constant_psf
from detection.services.search import MAX_KEPT_PER_MPIX, Subtracted, _Found, _refuse_flood


def subtracted(shape: tuple[int, int] = (1000, 1000), *, bad: int = 0) -> Subtracted:
    plane = np.zeros(shape, np.float32)
    mask = np.zeros(shape, np.uint16)
    mask[:bad] = 1
    psf = constant_psf(np.ones((3, 3), np.float32), shape=shape)
    return Subtracted(plane, plane + 1, plane, mask, psf)


def found(n_kept: int) -> Any:
    return _Found([], [], n_candidates=n_kept + 7, n_kept=n_kept)


def test_a_flood_of_candidates_fails_with_its_numbers() -> None:
    with pytest.raises(AlgorithmError, match="suspicious: 301 candidates") as caught:
        _refuse_flood(found(MAX_KEPT_PER_MPIX + 1), subtracted())
    assert caught.value.numbers == {"n_kept": 301, "n_allowed": 300, "n_candidates": 308}


def test_only_good_pixels_count_and_small_frames_have_a_floor() -> None:
    _refuse_flood(found(MAX_KEPT_PER_MPIX), subtracted())
    with pytest.raises(AlgorithmError):
        _refuse_flood(found(200), subtracted(bad=500))
    _refuse_flood(found(30), subtracted((100, 100)))
