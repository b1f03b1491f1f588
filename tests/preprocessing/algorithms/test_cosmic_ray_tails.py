"""The charge that a cosmic ray leaves in pixels it only grazes goes with it."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.moffat import moffat_of_fwhm
from preprocessing.algorithms.cosmic_rays import mask_cosmic_rays

SIGMA = 5.0


def find(data: np.ndarray, *, bad: np.ndarray | None = None) -> np.ndarray:
    variance = np.full(data.shape, SIGMA**2, np.float32)
    bad = np.zeros(data.shape, dtype=np.bool_) if bad is None else bad
    return mask_cosmic_rays(data, variance, bad=bad, psf=moffat_of_fwhm(2.6))


def track(grazed: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noiseless row of hits at 100 sigma, the pixels below it at ``grazed`` sigma."""
    data = np.zeros((60, 60), np.float32)
    hit, tail = np.zeros(data.shape, dtype=np.bool_), np.zeros(data.shape, dtype=np.bool_)
    hit[30, 20:28], tail[31, 20:28] = True, True
    data[hit], data[tail] = 100.0 * SIGMA, grazed * SIGMA
    return data, hit, tail


# below 3 sigma no pixel is a hit of its own, even beside one
@pytest.mark.parametrize("grazed", [2.0, 2.8])
def test_grazed_pixels_are_masked_with_the_track_and_the_sky_beside_it_is_not(
    grazed: float,
) -> None:
    data, hit, tail = track(grazed)
    assert np.array_equal(find(data), hit | tail)


def test_pixels_of_the_same_height_away_from_a_track_are_kept() -> None:
    data, hit, _ = track(0.0)
    data[36, 20:28] = 2.0 * SIGMA
    assert np.array_equal(find(data), hit)


def test_a_pixel_unusable_before_is_not_found_again() -> None:
    data, hit, tail = track(2.0)
    bad = np.zeros(data.shape, dtype=np.bool_)
    bad[31, 24] = True
    assert np.array_equal(find(data, bad=bad), (hit | tail) & ~bad)
