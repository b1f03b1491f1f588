"""What becomes of a new source at an awkward place: the table of docs/engine.md, row by row."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane
from detection.algorithms.measurement import Measurement
from tests.engine.engine import Outcome
from tests.engine.places import (
    Scene,
    add_galaxy,
    add_new,
    add_saturated,
    cut_gap,
    make_scene,
)

X, Y = 150.0, 120.0
#: The noise of a flux with S/N 20, and what a PSF known to 1 % adds.
FLUX = 0.2


def nothing_else(outcome: Outcome, x: float, y: float) -> None:
    """No other candidate: an awkward place makes no sources of its own."""
    others = [m for m in outcome.kept if np.hypot(m.x - x, m.y - y) > 3.0]
    assert others == []
    assert outcome.subtraction.quality == "pass"


def found(scene: Scene, x: float, y: float) -> Measurement | None:
    outcome = scene.run()
    nothing_else(outcome, x, y)
    return outcome.near(x, y, within=2.0)


def test_on_open_sky_it_is_found_at_its_place_and_flux() -> None:
    scene = make_scene()
    add_new(scene, X + 0.3, Y - 0.4)
    source = found(scene, X + 0.3, Y - 0.4)
    assert source is not None
    assert source.flux == pytest.approx(scene.flux, rel=FLUX)
    assert source.mask_flags == 0


def test_on_the_edge_nothing_is_claimed() -> None:
    scene = make_scene()
    add_new(scene, 0.0, Y)
    assert found(scene, 0.0, Y) is None


def test_within_three_pixels_of_the_edge_only_what_is_seen_of_it_is_claimed() -> None:
    scene = make_scene()
    add_new(scene, 2.0, Y)
    source = found(scene, 2.0, Y)
    assert source is None or source.mask_flags & MaskPlane.EDGE
    # most of its light is not seen, and the error says so
    assert source is None or abs(source.flux - scene.flux) < 3.0 * source.flux_error
    assert source is None or source.flux_error > 0.1 * scene.flux


@pytest.mark.parametrize("distance", [4, 6])
def test_from_four_pixels_off_the_edge_it_is_found_with_its_flux(distance: int) -> None:
    scene = make_scene()
    add_new(scene, float(distance), Y)
    source = found(scene, float(distance), Y)
    assert source is not None
    assert source.flux == pytest.approx(scene.flux, rel=FLUX)
    assert bool(source.mask_flags & MaskPlane.EDGE) == (distance < 5)


@pytest.mark.parametrize("which", ["reference", "science"])
@pytest.mark.parametrize("distance", [-5, 0])
def test_in_a_chip_gap_of_either_frame_nothing_is_claimed(which: str, distance: int) -> None:
    scene = make_scene()
    # the last column of the gap is 149, distance 0
    x = 149.0 + distance
    add_new(scene, x, Y)
    cut_gap(getattr(scene, which), slice(130, 150))
    assert found(scene, x, Y) is None


@pytest.mark.parametrize("distance", [0.0, 0.45])
def test_on_the_last_column_of_a_gap_it_has_its_flux_within_an_error_that_holds_the_hidden_part(
    distance: float,
) -> None:
    scene = make_scene()
    places = [(149.0 + distance, float(y)) for y in range(30, 230, 40)]
    for x, y in places:
        add_new(scene, x, y)
    cut_gap(scene.science, slice(130, 150))
    outcome = scene.run()
    sources = [m for x, y in places if (m := outcome.near(x, y, within=2.5)) is not None]
    # those of which enough is seen are found; at the peak of what is seen their fluxes were 0.5 to
    # 0.9 of the truth with errors of 0.06
    assert len(sources) >= 2
    pulls = np.array([(m.flux - scene.flux) / m.flux_error for m in sources])
    assert np.abs(pulls).max() < 3.5
    assert min(m.flux_error for m in sources) > 0.08 * scene.flux


@pytest.mark.parametrize("which", ["reference", "science"])
@pytest.mark.parametrize("distance", [2, 4])
def test_two_pixels_off_a_chip_gap_it_is_found_with_its_flux(which: str, distance: int) -> None:
    scene = make_scene()
    x = 149.0 + distance
    add_new(scene, x, Y)
    cut_gap(getattr(scene, which), slice(130, 150))
    source = found(scene, x, Y)
    assert source is not None
    assert source.flux == pytest.approx(scene.flux, rel=FLUX)
    assert bool(source.mask_flags & MaskPlane.NO_DATA) == (distance < 3)


@pytest.mark.parametrize("distance", [0.0, 4.0])
def test_on_a_galaxy_it_is_found_and_the_galaxy_is_not(distance: float) -> None:
    scene = make_scene()
    add_galaxy(scene, 140, 130)
    alone = scene.run()
    nothing_else(alone, -99.0, -99.0)
    add_new(scene, 140.0 + distance, 130.0)
    source = found(scene, 140.0 + distance, 130.0)
    assert source is not None
    # the galaxy's own photons double the noise on its core
    assert abs(source.flux - scene.flux) < 4.0 * source.flux_error
    assert source.flux_error > 0.05 * scene.flux


@pytest.mark.parametrize("distance", [0, 6])
def test_in_the_halo_of_a_saturated_star_nothing_is_claimed(distance: int) -> None:
    scene = make_scene()
    add_saturated(scene, 140, 130)
    add_new(scene, 140.0 + distance, 130.0)
    outcome = scene.run()
    nothing_else(outcome, 140.0 + distance, 130.0)
    assert outcome.near(140.0 + distance, 130.0) is None
    assert outcome.subtraction.mask[130, 140 + distance] & (
        MaskPlane.SATURATED | MaskPlane.BLEED | MaskPlane.STAR_HALO
    )


def test_outside_the_halo_of_a_saturated_star_it_is_found() -> None:
    scene = make_scene()
    add_saturated(scene, 140, 130)
    add_new(scene, 154.0, 130.0)
    source = found(scene, 154.0, 130.0)
    assert source is not None
    # 5 % of the star's wing, known from far fainter stars, is a sixth of the source
    assert source.flux == pytest.approx(scene.flux, rel=0.35)


@pytest.mark.parametrize("which", ["reference", "science"])
def test_on_a_bad_column_it_is_found_beside_it_and_says_so(which: str) -> None:
    scene = make_scene()
    add_new(scene, X, Y)
    frame = getattr(scene, which)
    frame.data[:, 150] = 0.0
    frame.mask[:, 150] |= np.uint16(MaskPlane.BAD_PIXEL)
    source = found(scene, X, Y)
    assert source is not None
    assert abs(source.x - X) <= 1.0
    assert source.mask_flags & MaskPlane.BAD_PIXEL
    # the peak is not seen: its place and with it the flux follow from the flanks
    assert abs(source.flux - scene.flux) < 3.5 * source.flux_error
    assert source.flux == pytest.approx(scene.flux, rel=0.35)


def test_beside_a_bad_column_it_has_its_flux() -> None:
    scene = make_scene()
    add_new(scene, X + 1.0, Y)
    scene.science.mask[:, 150] |= np.uint16(MaskPlane.BAD_PIXEL)
    source = found(scene, X + 1.0, Y)
    assert source is not None
    assert source.flux == pytest.approx(scene.flux, rel=FLUX)
    assert source.mask_flags & MaskPlane.BAD_PIXEL


@pytest.mark.parametrize("value", [0.0, 5000.0])
def test_a_bad_column_that_no_mask_tells_of_makes_no_sources(value: float) -> None:
    scene = make_scene()
    scene.science.data[:, 150] = value
    nothing_else(scene.run(), -99.0, -99.0)


@pytest.mark.parametrize("which", ["reference", "science"])
def test_under_nan_nothing_is_claimed(which: str) -> None:
    scene = make_scene()
    add_new(scene, X, Y)
    getattr(scene, which).data[117:124, 147:154] = np.nan
    outcome = scene.run()
    nothing_else(outcome, X, Y)
    assert outcome.near(X, Y) is None
    assert (outcome.subtraction.score[117:124, 147:154] == 0.0).all()
    assert np.isfinite(outcome.subtraction.difference).all()


def test_one_nan_in_its_middle_costs_it_nothing_but_precision() -> None:
    scene = make_scene()
    add_new(scene, X, Y)
    scene.science.data[120, 150] = np.nan
    source = found(scene, X, Y)
    assert source is not None
    assert source.mask_flags & MaskPlane.NO_DATA
    assert abs(source.flux - scene.flux) < 3.5 * source.flux_error
    assert source.flux == pytest.approx(scene.flux, rel=0.35)
