"""Fluxes of frames with different units are compared on one scale only."""

from __future__ import annotations

import numpy as np
import pytest

from catalog.algorithms.common_scale import (
    IMAGE_UNITS,
    MICROJANSKY,
    REFERENCE_UNITS,
    FrameFlux,
    to_common_scale,
)


def test_a_constant_source_is_constant_whatever_the_zero_points_of_its_frames() -> None:
    rng = np.random.default_rng(2)
    zero_points = rng.uniform(26.10, 27.54, 30)
    truth = 12.0  # microjansky, that is 21.2 mag
    fluxes = [FrameFlux(truth * 10 ** (0.4 * (z - 23.9)), 5.0, float(z)) for z in zero_points]
    raw = [one.flux for one in fluxes]
    assert max(raw) / min(raw) > 2.0, "what was drawn before differs by a factor"
    scaled = to_common_scale(fluxes)
    assert {one.unit for one in scaled} == {MICROJANSKY}
    assert [one.flux for one in scaled] == pytest.approx([truth] * 30, rel=1e-12)
    assert [a.flux / a.flux_error for a in scaled] == pytest.approx(
        [b.flux / b.flux_error for b in fluxes]
    )


def test_a_flux_without_a_zero_point_stands_apart_among_those_with_one() -> None:
    with_one, without = to_common_scale(
        [FrameFlux(100.0, 1.0, 23.9), FrameFlux(100.0, 1.0, None, "reference", 2.0)]
    )
    assert (with_one.flux, with_one.unit) == (100.0, MICROJANSKY)
    assert (without.flux, without.unit) == (100.0, IMAGE_UNITS)


def test_without_any_zero_point_the_flux_ratios_of_stars_tie_frames_to_their_reference() -> None:
    fluxes = [
        FrameFlux(100.0, 10.0, None, "new", 0.5),
        FrameFlux(400.0, 10.0, None, "new", 2.0),
        FrameFlux(300.0, 10.0, None, "old", 1.5),
        FrameFlux(300.0, 10.0, None, "new", None),
        FrameFlux(300.0, 10.0, None),
    ]
    scaled = to_common_scale(fluxes)
    assert [one.unit for one in scaled] == [REFERENCE_UNITS] * 2 + [IMAGE_UNITS] * 3
    assert [one.flux for one in scaled] == [200.0, 200.0, 300.0, 300.0, 300.0]
    assert [one.flux_error for one in scaled[:2]] == [20.0, 5.0]


def test_frames_that_nothing_ties_stay_in_image_units() -> None:
    scaled = to_common_scale([FrameFlux(5.0, 1.0, None), FrameFlux(7.0, 1.0, None)])
    assert [(one.flux, one.unit) for one in scaled] == [(5.0, IMAGE_UNITS), (7.0, IMAGE_UNITS)]
    assert to_common_scale([]) == []
