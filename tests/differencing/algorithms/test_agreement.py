"""A second method's view of candidates: of real ones, of false ones, and of none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from detection.algorithms.candidates import find_candidates
from detection.algorithms.measurement import measure
from differencing.algorithms.agreement import FirstView, ask_second, compare
from differencing.algorithms.subtract import Subtraction, SubtractionConfig, subtract
from preprocessing.algorithms.stars import StarList, find_stars

THRESHOLD = 5.0
PAIR = simulate_pair(
    PairConfig(seed=6, shape=(384, 384), star_density_per_mpix=900, transient_density_per_mpix=150)
)
SCIENCE, TEMPLATE = PAIR.calibrated_science(), PAIR.calibrated_reference()


@pytest.fixture(scope="module")
def stars() -> StarList:
    return find_stars(SCIENCE)


@pytest.fixture(scope="module")
def first(stars: StarList) -> Subtraction:
    return subtract(TEMPLATE, SCIENCE, stars=stars, config=SubtractionConfig(method="kernel"))


@pytest.fixture(scope="module")
def second(stars: StarList) -> Subtraction:
    return subtract(TEMPLATE, SCIENCE, stars=stars, config=SubtractionConfig(method="zogy"))


def view(*places: tuple[float, float, float, float]) -> FirstView:
    """Candidates given as x, y, score and flux."""
    columns = np.array(places, dtype=np.float64).reshape(-1, 4).T
    return FirstView(*columns, threshold=THRESHOLD)


@pytest.mark.parametrize("method", ["zogy", "alard_lupton"])
def test_another_method_agrees_on_what_is_there(
    first: Subtraction, stars: StarList, method: str
) -> None:
    candidates = find_candidates(first, threshold=THRESHOLD)
    rows = measure(first, TEMPLATE, SCIENCE, candidates, stars=stars)
    real = [m for m in rows if np.hypot(PAIR.truth["x"] - m.x, PAIR.truth["y"] - m.y).min() < 2.0]
    assert len(real) >= 10
    opinion = ask_second(
        method,
        first.method,
        TEMPLATE,
        SCIENCE,
        stars=stars,
        candidates=FirstView.of(real, threshold=THRESHOLD),
        config=SubtractionConfig(),
    )
    assert opinion.problem == ""
    assert opinion.method == method
    assert opinion.agreements is not None
    assert all(each.agrees for each in opinion.agreements)
    ratios = np.array([each.flux_ratio for each in opinion.agreements])
    # the same photons: their noise hardly enters
    assert np.abs(ratios - 1.0).max() < 0.3
    assert np.median(ratios) == pytest.approx(1.0, abs=0.03)


def test_a_candidate_of_one_method_alone_is_not_confirmed(second: Subtraction) -> None:
    blank = np.argwhere(np.abs(second.score) < 0.5)
    y, x = next(place for place in blank if place.min() > 40 and place.max() < 340)
    near = second.score[y - 1 : y + 2, x - 1 : x + 2]
    said = compare(second, view((x, y, 6.0, 900.0), (x, y, -6.0, -900.0)))
    assert [each.agrees for each in said] == [False, False]
    assert said[0].score == pytest.approx(near.max())
    assert said[1].score == pytest.approx(near.min())
    assert said[0].least_score == 4.0


def test_half_the_significance_is_no_agreement_on_a_bright_one(second: Subtraction) -> None:
    y, x = np.unravel_index(int(second.score.argmax()), second.score.shape)
    peak = float(second.score[y, x])
    said = compare(second, view((x, y, 1.9 * peak, 1.0), (x, y, 2.1 * peak, 1.0)))
    assert [each.agrees for each in said] == [True, False]


def test_where_the_second_sees_only_masked_pixels_it_says_nothing(second: Subtraction) -> None:
    mask = second.mask.copy()
    mask[100:110, 100:110] |= np.uint16(MaskPlane.BAD_PIXEL)
    score = second.score.copy()
    score[100:110, 100:110] = 0.0
    said = compare(replace(second, mask=mask, score=score), view((105, 105, 8.0, 1.0)))
    assert said[0].score is None
    assert said[0].agrees is None
    assert said[0].flux_ratio is None


def test_no_candidates_are_no_agreements(second: Subtraction) -> None:
    assert compare(second, view()) == ()


def test_the_method_of_the_first_is_no_second(stars: StarList) -> None:
    for method, used in (("kernel", "kernel/template"), ("zogy", "zogy")):
        opinion = ask_second(
            method, used, TEMPLATE, SCIENCE, stars=stars, candidates=view(),
            config=SubtractionConfig(),
        )  # fmt: skip
        assert opinion.agreements is None
        assert opinion.problem == "the second method is the first"


def test_a_second_method_that_cannot_match_says_why(stars: StarList) -> None:
    few = stars.select(np.flatnonzero(stars.is_star)[:2])
    opinion = ask_second(
        "kernel", "zogy", TEMPLATE, SCIENCE, stars=few, candidates=view(),
        config=SubtractionConfig(),
    )  # fmt: skip
    assert opinion.agreements is None
    assert "only 2 usable stars" in opinion.problem
