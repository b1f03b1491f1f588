"""The rule by which a champion is thrown out."""

from __future__ import annotations

import numpy as np
import pytest

from detection.training.canary_rule import figures, judge_harm, paired_difference, wilson

RULE = {"cut": 0.5, "margin": 0.05, "than": "before"}


def scores(n_found: int, n_real: int, n_passed: int, n_bogus: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of which so many of the real, and so many of the bogus, pass the cut."""
    score = np.full(n_real + n_bogus, 0.1)
    score[:n_found] = 0.9
    score[n_real : n_real + n_passed] = 0.9
    return score, np.arange(n_real + n_bogus) < n_real


def test_the_intervals_are_those_of_the_papers() -> None:
    # Newcombe 1998, Stat. Med. 17, 857, table I: 81 of 263
    share = wilson(81, 263)
    assert (share.low, share.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 0).value is None
    # Newcombe 1998, Stat. Med. 17, 2635, table II, method 10, (36, 12; 2, 0)
    first = np.repeat([True, True, False, False], [36, 12, 2, 0])
    second = np.repeat([True, False, True, False], [36, 12, 2, 0])
    found = paired_difference(first, second)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0569, 0.3404), abs=1e-4)


def test_a_candidate_without_a_score_is_lost() -> None:
    score, is_real = scores(8, 10, 1, 10)
    score[0] = np.nan
    told = figures(score, is_real, cut=0.5)
    assert (told.completeness.value, told.false_alarms.value, told.n_scored) == (0.7, 0.1, 19)


@pytest.mark.parametrize(
    ("now", "before", "says"),
    [
        ((100, 100, 2, 60), (100, 100, 2, 60), ""),
        # four of a hundred are within the margin; twenty are not
        ((96, 100, 2, 60), (100, 100, 2, 60), ""),
        ((80, 100, 2, 60), (100, 100, 2, 60), "fewer of the real canaries than before"),
        # a model that calls everything real finds all, and is none
        ((100, 100, 60, 60), (98, 100, 2, 60), "more of the bogus canaries pass than before"),
        # one that is better than what was before harms nobody
        ((100, 100, 0, 60), (80, 100, 20, 60), ""),
    ],
)
def test_what_is_lost_beyond_the_margin_with_confidence_harms(
    now: tuple[int, int, int, int], before: tuple[int, int, int, int], says: str
) -> None:
    score, is_real = scores(*now)
    harm = judge_harm(score, scores(*before)[0], is_real, **RULE)
    assert (says in harm.says) if says else harm.says == ""


def test_a_few_canaries_prove_nothing() -> None:
    score, is_real = scores(4, 5, 0, 5)
    assert judge_harm(score, scores(5, 5, 0, 5)[0], is_real, **RULE).says == ""


def test_a_model_that_gives_no_scores_harms() -> None:
    score, is_real = scores(5, 5, 0, 5)
    harm = judge_harm(np.full(10, np.nan), score, is_real, **RULE)
    assert harm.says == "it gives no canary a score"
