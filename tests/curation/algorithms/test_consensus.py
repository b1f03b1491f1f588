"""Consensus of several answers, and the cases in which others asked too many or too few."""

from __future__ import annotations

import pytest

from curation.algorithms.consensus import Outcome, Rule, Standing, Vote, find_consensus


def said(*labels: str, experts: tuple[int, ...] = ()) -> list[Vote]:
    """Answers of as many people, one after the other."""
    return [Vote(i, label, float(i), is_expert=i in experts) for i, label in enumerate(labels)]


def test_nobody_has_said_anything() -> None:
    assert find_consensus([], Rule()) == Outcome("", Standing.OPEN, 0, 0, is_retired=False)


@pytest.mark.parametrize(
    ("labels", "standing", "label"),
    [
        (["real"], "agreed", "real"),
        (["unsure"], "open", ""),
        (["real", "unsure"], "agreed", "real"),
        (["real", "bogus"], "disputed", ""),
        (["real", "bogus", "real"], "agreed", "real"),
        (["real", "bogus", "variable"], "disputed", ""),
        (["moving", "moving", "unsure"], "agreed", "moving"),
    ],
)
def test_the_most_frequent_answer_counts_where_enough_agree(
    labels: list[str], standing: str, label: str
) -> None:
    found = find_consensus(said(*labels), Rule())
    assert (found.standing, found.label) == (standing, label)


def test_fewer_answers_than_needed_are_no_consensus() -> None:
    rule = Rule(votes_needed=2)
    assert find_consensus(said("real"), rule).standing == "open"
    assert find_consensus(said("real", "real"), rule).standing == "agreed"


# --- the seven cases
def test_what_is_retired_stays_retired_when_a_late_answer_agrees() -> None:
    rule = Rule(at_most=3, enough={"bogus": 2})
    assert find_consensus(said("bogus", "bogus"), rule).is_retired
    assert find_consensus(said("bogus", "bogus", "bogus", "bogus"), rule).is_retired


def test_nothing_is_retired_before_enough_agree() -> None:
    rule = Rule(at_most=5, enough={"real": 3})
    assert not find_consensus(said("real", "real"), rule).is_retired
    assert not find_consensus(said("real", "bogus", "bogus", "real"), rule).is_retired
    assert find_consensus(said("real", "bogus", "real", "real"), rule).is_retired


def test_one_person_counts_once_however_many_epochs_were_judged() -> None:
    votes = [Vote("one", "real", float(at)) for at in range(5)]
    found = find_consensus(votes, Rule(at_most=3))
    assert (found.n_people, found.n_agreeing, found.is_retired) == (1, 1, False)


def test_an_empty_one_is_retired_sooner_than_a_promising_one() -> None:
    rule = Rule(at_most=5, enough={"bogus": 2, "real": 4})
    assert find_consensus(said("bogus", "bogus"), rule).is_retired
    assert not find_consensus(said("real", "real"), rule).is_retired


def test_an_expert_settles_it_at_once_and_the_latest_expert_counts() -> None:
    found = find_consensus(said("bogus", "bogus", "real", experts=(2,)), Rule(at_most=9))
    assert found == Outcome("real", Standing.SETTLED, 3, 1, is_retired=True)
    two = find_consensus(said("real", "bogus", experts=(0, 1)), Rule())
    assert two.label == "bogus"
    unsure = find_consensus(said("real", "unsure", experts=(1,)), Rule())
    assert (unsure.standing, unsure.label) == ("agreed", "real")


def test_how_many_are_asked_depends_on_what_they_say() -> None:
    rule = Rule(at_most=15, enough={"bogus": 8, "real": 10})
    assert find_consensus(said(*["bogus"] * 8), rule).is_retired
    assert not find_consensus(said(*["real"] * 8), rule).is_retired
    assert find_consensus(said(*["real"] * 10), rule).is_retired
    mixed = find_consensus(said(*["real", "bogus"] * 7), rule)
    assert (mixed.standing, mixed.is_retired) == ("disputed", False)
    full = find_consensus(said(*["real", "bogus"] * 7, "unsure"), rule)
    assert (full.standing, full.is_retired) == ("disputed", True)


def test_enough_people_who_cannot_tell_are_a_dispute() -> None:
    found = find_consensus(said("unsure", "unsure", "unsure"), Rule())
    assert (found.standing, found.label, found.is_retired) == ("disputed", "", True)


def test_a_change_of_mind_replaces_the_answer_and_doubt_does_not() -> None:
    votes = [Vote("one", "real", 1.0), Vote("one", "bogus", 2.0), Vote("one", "unsure", 3.0)]
    assert find_consensus(votes, Rule()).label == "bogus"


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"agreement": 0.5}, "agreement"),
        ({"agreement": 1.1}, "agreement"),
        ({"votes_needed": 4}, "votes_needed"),
        ({"enough": {"real": 0}}, "real"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Rule(**wrong)  # type: ignore[arg-type]
