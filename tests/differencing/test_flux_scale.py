"""Two frames come to one flux scale by what measures it best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from astrid_site.imaging.image import Image
from differencing.services.flux_scale import flux_scale
from preprocessing.algorithms.plane_map import identity_map
from preprocessing.algorithms.registration import Registration


def frame(**facts: Any) -> Image:
    return Image(data=np.zeros((8, 8), np.float32), mask=np.zeros((8, 8), np.uint16), **facts)


def registered(ratio: float | None, n_stars: int) -> Registration:
    maps = (identity_map((8, 8)),)
    return Registration(maps, n_stars, 0.1, None, "wcs+stars", ratio, 0.01, 1.0, n_stars)


@pytest.mark.parametrize(("n_stars", "scale"), [(9, 1.0), (40, 1.098)])
def test_a_handful_of_galaxies_does_not_rescale_calibrated_frames(
    n_stars: int, scale: float
) -> None:
    image = frame(unit="MJy/sr")
    assert flux_scale(registered(1.098, n_stars), image, image) == pytest.approx(scale)


@pytest.mark.parametrize(("n_stars", "scale"), [(2, 10**0.4), (9, 0.7)])
def test_stars_overrule_the_zero_points_of_headers(n_stars: int, scale: float) -> None:
    source, target = frame(zero_point=24.0), frame(zero_point=25.0)
    assert flux_scale(registered(0.7, n_stars), source, target) == pytest.approx(scale)


def test_without_any_knowledge_counts_stay_as_they_are() -> None:
    assert flux_scale(registered(None, 0), frame(), frame()) == 1.0
    assert flux_scale(registered(1.3, 1), frame(), frame()) == pytest.approx(1.3)
