"""What may not depend on the order, the unit, the zero, the cut or the turn of the frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from tests.engine.engine import (
    FIELD,
    Outcome,
    bright_truth,
    changed,
    cropped,
    field_outcome,
    field_pair,
    match,
    mirrored,
    run_engine,
    turned,
)

few = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def agree(one: Outcome, other: Outcome, *, ratio: float = 1.0, share: float = 0.8) -> None:
    """The same sources, at the same places, as bright and as significant.

    Both outcomes rest on the same photons: ``share`` is what any may differ by, in units of its
    error, where other photons would differ by 1.4. Other boxes of the sky and another order of the
    stars make a slightly different kernel.
    """
    both = match(one, other)
    assert both.lonely == 0
    assert len(both.first) >= 6
    snr = np.abs(one.score[both.first])
    # stars register two frames to a few hundredths of a pixel; a peak is known to 1.3 pix / snr,
    # and the filter's noise is not quite the same in both
    assert (both.apart_pix < np.maximum(0.1, 1.6 / snr)).all(), both.apart_pix
    error = np.hypot(one.flux_error[both.first], 0.01 * one.flux[both.first])
    shift = (other.flux[both.second] / ratio - one.flux[both.first]) / error
    assert np.abs(shift).max() < share, shift
    assert np.sqrt(np.mean(shift**2)) < 0.6 * share, shift
    change = np.abs(other.score[both.second] - one.score[both.first])
    assert (change < np.maximum(share, 0.04 * snr)).all(), change


def test_the_field_shows_what_was_put_into_it() -> None:
    pair, outcome = field_pair(), field_outcome()
    rows = bright_truth(pair)
    assert len(rows) >= 5
    pulls = []
    for i in rows:
        found = outcome.near(pair.truth["x"][i], pair.truth["y"][i])
        assert found is not None
        pulls.append((found.flux - pair.truth["flux_adu"][i]) / found.flux_error)
    assert np.abs(pulls).max() < 4.0
    assert len(outcome.kept) <= len(pair.truth) + 1


def test_swapped_frames_show_the_same_sources_with_the_other_sign() -> None:
    pair, outcome = field_pair(), field_outcome()
    swapped = run_engine(pair.science, pair.reference)
    both = match(outcome, swapped)
    assert len(both.first) >= 6
    assert both.lonely == 0
    ratio = float(outcome.subtraction.metrics["flux_ratio"])
    back = -swapped.flux[both.second] * ratio
    pulls = (back - outcome.flux[both.first]) / outcome.flux_error[both.first]
    # another kernel, fitted the other way: the same photons to within an error, bright ones to 2 %
    snr = np.abs(outcome.flux[both.first] / outcome.flux_error[both.first])
    assert (np.abs(pulls) < 0.7 + 0.02 * snr).all(), pulls
    assert (np.sign(swapped.score[both.second]) == -np.sign(outcome.score[both.first])).all()
    sizes = np.abs(swapped.score[both.second]) / np.abs(outcome.score[both.first])
    # what faded has its photons in the reference, where they count as noise: the more of them, the
    # lower the score; 5 % at 20, a tenth at 40 (0.89 to 0.90 here)
    scores = np.abs(outcome.score[both.first])
    assert ((sizes > 0.73) & (sizes < 1.08)).all(), sizes
    assert (sizes[scores < 22.0] > 0.93).all(), sizes
    assert (sizes[scores < 42.0] > 0.85).all(), sizes


def test_one_frame_twice_shows_nothing_and_says_so() -> None:
    science = field_pair().science
    outcome = run_engine(science, science)
    sigma = np.sqrt(np.median(outcome.subtraction.variance))
    assert outcome.kept == []
    assert np.abs(outcome.subtraction.score).max() < 3.0
    assert np.abs(outcome.subtraction.difference).max() < 0.5 * sigma
    assert outcome.subtraction.quality != "pass"
    assert any("pull_width" in reason for reason in outcome.subtraction.quality_reasons)


@few
@given(factor=st.floats(1e-3, 1e4), which=st.sampled_from(["reference", "science"]))
def test_another_unit_of_one_frame_changes_fluxes_alone(factor: float, which: str) -> None:
    pair, outcome = field_pair(), field_outcome()
    frames = {"reference": pair.reference, "science": pair.science}
    frames[which] = changed(frames[which], factor=factor)
    other = run_engine(**frames)
    agree(outcome, other, ratio=factor if which == "science" else 1.0, share=0.05)


@few
@given(constant=st.floats(-1000.0, 5000.0), which=st.sampled_from(["reference", "science"]))
def test_a_constant_under_one_frame_changes_nothing(constant: float, which: str) -> None:
    pair, outcome = field_pair(), field_outcome()
    frames = {"reference": pair.reference, "science": pair.science}
    frames[which] = changed(frames[which], constant=constant)
    agree(outcome, run_engine(**frames), share=0.05)


@pytest.mark.parametrize("quarters", [1, 2])
def test_both_frames_turned_show_the_same_sky(quarters: int) -> None:
    pair, outcome = field_pair(), field_outcome()
    other = run_engine(turned(pair.reference, quarters), turned(pair.science, quarters))
    agree(outcome, other)


@pytest.mark.parametrize("which", ["reference", "science"])
def test_one_frame_turned_or_mirrored_shows_the_same_sky(which: str) -> None:
    pair, outcome = field_pair(), field_outcome()
    change = (lambda image: turned(image, 1)) if which == "reference" else mirrored
    frames = {"reference": pair.reference, "science": pair.science}
    frames[which] = change(frames[which])
    agree(outcome, run_engine(**frames))


def test_a_crop_of_the_science_frame_shows_its_part_of_the_sky() -> None:
    pair, outcome = field_pair(), field_outcome()
    rows, columns = slice(20, 260), slice(13, 280)
    other = run_engine(pair.reference, cropped(pair.science, rows, columns))
    both = match(outcome, other)
    inner = [
        i
        for i in range(len(outcome.kept))
        if 35 < outcome.y[i] < 245 and 28 < outcome.x[i] < 265 and abs(outcome.score[i]) > 7
    ]
    assert len(inner) >= 4
    assert set(inner) <= set(both.first)
    pulls = (other.flux[both.second] - outcome.flux[both.first]) / outcome.flux_error[both.first]
    snr = np.abs(outcome.score[both.first])
    assert (np.abs(pulls) < 0.5 + 0.015 * snr).all(), pulls


@pytest.mark.parametrize("shift", [(7.0, -4.0), (0.5, 0.37)])
def test_a_shifted_reference_shows_the_same_sources(shift: tuple[float, float]) -> None:
    # another exposure: its noise is its own, so truth is what both are compared with
    config = PairConfig(**{**vars(FIELD), "shift_pix": shift})
    pair = simulate_pair(config)
    outcome = run_engine(pair.reference, pair.science)
    rows = bright_truth(pair, margin=20.0)
    assert len(rows) >= 4
    for i in rows:
        found = outcome.near(pair.truth["x"][i], pair.truth["y"][i])
        assert found is not None
        assert abs(found.flux - pair.truth["flux_adu"][i]) < 4.0 * found.flux_error
        place = outcome.frames.science.image.wcs.all_pix2world(found.x, found.y, 0)
        apart = np.hypot(
            (place[0] - pair.truth["ra"][i]) * np.cos(np.radians(place[1])),
            place[1] - pair.truth["dec"][i],
        )
        # a pixel is an arcsecond; the reference's own WCS is exact
        assert apart * 3600.0 < 0.1 + 4.0 * 3.0 / 2.355 / found.snr
