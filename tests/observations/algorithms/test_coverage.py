"""How much of a frame another covers, from corners alone."""

from __future__ import annotations

import numpy as np
import pytest

from observations.algorithms.coverage import covered_fraction


def square(ra: float, dec: float, half: float = 0.5) -> list[tuple[float, float]]:
    """Corners of a square frame of ``2 half`` degrees, also across RA 0."""
    stretch = half / np.cos(np.radians(dec))
    signs = ((1, -1), (-1, -1), (-1, 1), (1, 1))
    return [((ra + sx * stretch) % 360.0, dec + sy * half) for sx, sy in signs]


@pytest.mark.parametrize("ra", [0.0, 150.0, 359.9])
@pytest.mark.parametrize("dec", [-60.0, 0.0, 45.0])
def test_a_shift_by_a_quarter_leaves_three_quarters(ra: float, dec: float) -> None:
    # the grid of 100 points a side is good to a hundredth
    shifted = square(ra, dec + 0.25)
    assert covered_fraction(square(ra, dec), shifted) == pytest.approx(0.75, abs=0.02)
    assert covered_fraction(square(ra, dec), square(ra, dec)) == 1.0


def test_a_frame_is_covered_by_a_larger_one_but_not_the_reverse() -> None:
    small, large = square(10.0, 20.0, 0.25), square(10.0, 20.0, 0.5)
    assert covered_fraction(small, large) == 1.0
    assert covered_fraction(large, small) == pytest.approx(0.25, abs=0.02)


def test_corners_may_run_either_way_and_start_anywhere() -> None:
    frame = square(10.0, 20.0)
    assert covered_fraction(frame, frame[::-1]) == 1.0
    assert covered_fraction(frame[2:] + frame[:2], frame) == 1.0


def test_a_frame_on_the_pole_covers_itself() -> None:
    cap = [(45.0, 89.5), (135.0, 89.5), (225.0, 89.5), (315.0, 89.5)]
    turned = [(ra + 45.0, dec) for ra, dec in cap]
    assert covered_fraction(cap, cap) == 1.0
    # two squares turned by 45 degrees share 2 (sqrt 2 - 1) of their area
    assert covered_fraction(cap, turned) == pytest.approx(0.828, abs=0.02)


def test_far_frames_share_nothing_not_even_antipodes() -> None:
    for ra, dec in ((12.0, 20.0), (190.0, -20.0), (10.0, -70.0)):
        assert covered_fraction(square(10.0, 20.0), square(ra, dec)) == 0.0


def test_a_line_is_no_frame() -> None:
    with pytest.raises(ValueError, match="corners"):
        covered_fraction(square(0, 0)[:2], square(0, 0))
