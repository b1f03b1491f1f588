"""Assignments: never more people at an object than are wanted, whatever they do at once."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections
from django.utils import timezone

from astrid_site.accounts.models import User
from curation.models import Assignment, Verdict
from curation.selectors import open_count, people_present
from curation.services import (
    HELD_FOR,
    give_back,
    give_verdict,
    keep_assignments,
    take_candidates,
    withdraw_verdict,
)
from detection.models import Detection
from tests.catalog.factories import make_detection, make_member, make_object
from tests.observations.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def one_each(settings: Any) -> None:
    settings.PEOPLE_PER_CANDIDATE = 1


def take(curator: User, limit: int = 10, held: list[Detection] | None = None) -> list[Detection]:
    return take_candidates(curator, limit=limit, held=[row.pk for row in held or []])


def test_what_one_holds_is_kept_from_others_until_it_is_given_back() -> None:
    first, second = make_detection(score=30.0), make_detection(score=20.0)
    me, you = make_user(), make_user()
    assert take(me, 1) == [first]
    assert take(you) == [second]
    assert open_count(you) == 1
    assert take(me) == [first], "a page that is loaded again shows the same"
    give_back(me, at=timezone.now())
    assert take(you, held=[second]) == [first]


def test_what_is_held_is_free_again_after_a_quarter_of_an_hour_unless_it_is_renewed() -> None:
    detection, me, you = make_detection(), make_user(), make_user()
    assert timedelta(minutes=15) == HELD_FOR
    take(me)
    ago = timezone.now() - timedelta(seconds=1)
    Assignment.objects.update(until=ago)
    keep_assignments(me, [detection.pk])
    assert take(you) == []
    Assignment.objects.update(until=ago)
    assert take(you) == [detection]
    assert take(me) == []


def test_the_farewell_of_a_page_leaves_alone_what_the_next_page_was_given() -> None:
    detection, me, you = make_detection(), make_user(), make_user()
    take(me)
    told = keep_assignments(me, [], showing=detection.pk)
    assert take(me) == [detection]  # the same page, loaded again before the farewell arrives
    give_back(me, at=told)
    assert take(you) == []


def test_a_decision_counts_for_good_and_an_undo_frees_what_it_took(
    settings: Any,
) -> None:
    settings.PEOPLE_PER_CANDIDATE = 2
    owner = make_object()
    one, other = make_member(owner), make_member(owner)
    people = [make_user() for _ in range(3)]
    give_verdict(one, people[0], label="real")
    give_verdict(other, people[1], label="bogus")
    assert take(people[2]) == [], "two people decided about the object, each by another epoch"
    withdraw_verdict(other, people[1])
    assert take(people[2]) == [], "who took it back sees it again"
    give_back(people[1], at=timezone.now())
    assert len(take(people[2])) == 1


def test_a_decision_is_never_refused_because_enough_have_decided() -> None:
    detection, me, you = make_detection(), make_user(), make_user()
    give_verdict(detection, me, label="real")
    give_verdict(detection, you, label="bogus")
    assert Verdict.objects.count() == 2


def test_a_decision_that_comes_twice_is_stored_once_even_after_an_undo() -> None:
    detection, me = make_detection(), make_user()
    key, undo = uuid4(), uuid4()
    first = give_verdict(detection, me, label="real", decision=key)
    back = withdraw_verdict(detection, me, decision=undo)
    assert give_verdict(detection, me, label="real", decision=key) == first
    assert withdraw_verdict(detection, me, decision=undo) == back
    assert Verdict.objects.count() == 2
    assert give_verdict(detection, make_user(), label="real", decision=key) != first, "theirs"


def test_one_is_told_who_else_is_here_and_who_looks_at_the_same() -> None:
    first, second = make_detection(score=30.0), make_detection(score=20.0)
    me, you = make_user(), make_user()
    for curator, shown in ((me, first), (you, second)):
        take(curator)
        keep_assignments(curator, [], showing=shown.pk)
    assert people_present(me, first.pk) == ([you.username], [])
    assert people_present(me, second.pk) == ([you.username], [you.username])
    Assignment.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    assert people_present(me, second.pk) == ([], [])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("wanted", [1, 2])
def test_six_people_who_ask_at_once_never_get_a_candidate_too_often(
    settings: Any, wanted: int
) -> None:
    settings.PEOPLE_PER_CANDIDATE = wanted
    run = make_detection(score=50.0).run
    for n in range(11):
        make_detection(run, score=10.0 + n)
    people = [make_user() for _ in range(6)]
    given: list[UUID] = []
    errors: list[BaseException] = []
    start = threading.Barrier(len(people))

    def ask(curator: User) -> None:
        try:
            start.wait(timeout=30)
            held: list[Detection] = []
            for _ in range(4):
                held += take(curator, 2, held)
            given.extend(row.pk for row in held)
        except Exception as error:
            errors.append(error)
            raise
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask, args=[curator]) for curator in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    counts = Counter(given)
    assert set(counts.values()) == {wanted}, "no candidate too often, none too rarely"
    assert len(counts) == 12
