"""The correlation that resampling gives to noise, against resampled noise itself."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.image import Image
from preprocessing.algorithms.plane_map import affine_map
from preprocessing.algorithms.registration import Registration
from preprocessing.algorithms.warp import warp

SIDE = 420
MARGIN = 30


@pytest.mark.parametrize(
    ("scale", "angle"), [(1.0003, 0.001), (1.0, 0.4), (0.5, 0.001), (0.5, 0.3), (1.9, 0.001)]
)
def test_noise_is_as_correlated_as_said(scale: float, angle: float) -> None:
    """Whole-pixel lags of white noise through the map; 130,000 pixels tell each to 0.006."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    side = int(SIDE * scale * 1.5) + 40
    offset = side / 2 - turn @ np.full(2, SIDE / 2) + 0.3
    step = affine_map(turn, offset, shape=(SIDE, SIDE))
    mapping = Registration((step,), 10, 0.01, None, "stars", 1.0, 0.01, 1.0)
    noise = np.random.default_rng(5).normal(0, 3, (side, side)).astype(np.float32)
    frame = Image(data=noise, mask=np.zeros(noise.shape, dtype=np.uint16))
    warped = warp(frame, mapping, shape=(SIDE, SIDE))
    assert warped.noise_correlation is not None
    middle = warped.noise_correlation.shape[0] // 2
    assert warped.noise_correlation[middle, middle] == 1.0
    inner = slice(MARGIN, SIDE - MARGIN)
    here = warped.data[inner, inner].astype(np.float64)
    for dy, dx in [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (3, 0), (2, 4)]:
        there = np.roll(warped.data, (-dy, -dx), axis=(0, 1))[inner, inner]
        measured = float((here * there).mean() / np.square(here).mean())
        said = float(warped.noise_correlation[middle + dy, middle + dx])
        # a coarser frame has fewer pixels, and the middle has not quite the whole frame's phases
        assert measured == pytest.approx(said, abs=0.02)
