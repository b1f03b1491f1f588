"""Frames that are said to share one grid: when that holds, and how far they are off."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from preprocessing.algorithms.alignment import check_alignment
from preprocessing.algorithms.preprocess import Preprocessed, preprocess_image
from preprocessing.algorithms.stars import StarList


@cache
def frames(dx: float, *, turn: float = 0.0) -> tuple[Preprocessed, Preprocessed]:
    pair = simulate_pair(
        PairConfig(
            seed=3,
            shape=(256, 256),
            star_density_per_mpix=1500,
            shift_pix=(dx, 0.0),
            rotation_deg=turn,
        )
    )
    return preprocess_image(pair.reference), preprocess_image(pair.science)


def check(pair: tuple[Preprocessed, Preprocessed], *, blind: bool = False):
    reference, science = pair
    ours, theirs = science.stars, reference.stars
    if blind:
        ours, theirs = (stars.select(np.zeros(len(stars), bool)) for stars in (ours, theirs))
    return check_alignment(reference.image, theirs, science.image, science_stars=ours)


def test_frames_on_one_grid_are_measured_and_raise_no_doubt() -> None:
    found = check(frames(0.0))
    # 25 stars of S/N > 10 fix the median to a few hundredths of a pixel
    assert found.shift_pix == pytest.approx(0.0, abs=0.08)
    assert found.n_stars >= 10
    assert found.problem is None


def test_a_third_of_a_pixel_is_a_doubt_with_its_number() -> None:
    found = check(frames(0.35))
    assert found.shift_pix == pytest.approx(0.35, abs=0.08)
    assert found.problem is not None
    assert f"{found.shift_pix:.2f} pix apart" in found.problem


@pytest.mark.parametrize("shift", [1.2, 4.0, 40.0])
def test_pixels_of_shift_are_refused_with_their_number(shift: float) -> None:
    with pytest.raises(AlgorithmError, match=f"{shift:.1f} pix off") as caught:
        check(frames(shift))
    assert caught.value.numbers["shift_pix"] == pytest.approx(shift, abs=0.1)


def test_a_turned_frame_is_refused() -> None:
    with pytest.raises(AlgorithmError, match="not aligned"):
        check(frames(0.0, turn=20.0))


def test_a_mirrored_frame_is_refused() -> None:
    reference, science = frames(0.0)
    stars = science.stars
    flipped = StarList(
        255.0 - stars.x, stars.y, stars.flux, stars.flux_error, stars.peak, stars.is_star
    )
    with pytest.raises(AlgorithmError, match="not aligned"):
        check_alignment(reference.image, reference.stars, science.image, science_stars=flipped)


def test_without_stars_the_pixels_are_asked() -> None:
    assert check(frames(0.0), blind=True).problem is None
    with pytest.raises(AlgorithmError, match="the pixels put the science image 4"):
        check(frames(4.0), blind=True)


def test_frames_that_show_nothing_in_common_are_a_doubt() -> None:
    reference, science = frames(0.0)
    rng = np.random.default_rng(8)
    noise = rng.normal(0.0, 10.0, science.image.shape).astype(np.float32)
    empty = science.image.with_(data=noise)
    none = science.stars.select(np.zeros(len(science.stars), bool))
    found = check_alignment(reference.image, reference.stars, empty, science_stars=none)
    assert found.shift_pix is None
    assert "nothing in the frames could tell" in str(found.problem)
