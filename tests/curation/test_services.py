"""Verdicts: appended, idempotent, and what they make of an object."""

from __future__ import annotations

import threading

import pytest
from django.db import connections

from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import AuditEntry, Event
from catalog.models import AstroObject
from curation.models import Verdict
from curation.selectors import (
    current_verdict,
    current_verdicts,
    detection_verdicts,
    next_candidates,
    open_count,
    verdict_history,
)
from curation.services import give_verdict, withdraw_verdict
from tests.catalog.factories import make_detection, make_member, make_object
from tests.observations.factories import make_user

pytestmark = pytest.mark.django_db


def test_a_verdict_is_recorded_with_what_was_shown() -> None:
    detection, curator = make_detection(real_bogus=0.7, scorer="m 1"), make_user()
    verdict = give_verdict(detection, curator, label="bogus", reason="dipole", seconds=1.5)
    assert (verdict.label, verdict.reason, verdict.seconds, verdict.sequence) == (
        "bogus",
        "dipole",
        1.5,
        1,
    )
    assert (verdict.score_shown, verdict.scorer) == (0.7, "m 1")
    assert verdict.code_version
    assert Event.objects.get(kind="verdict.given").subject_id == detection.pk
    entry = AuditEntry.objects.get(action="verdict.give")
    assert (entry.actor, entry.action, entry.after["label"]) == (curator, "verdict.give", "bogus")


def test_saying_the_same_twice_is_one_verdict() -> None:
    detection, curator = make_detection(), make_user()
    first = give_verdict(detection, curator, label="real")
    assert give_verdict(detection, curator, label="real") == first
    assert Verdict.objects.count() == 1


def test_a_change_of_mind_and_an_undo_are_appended() -> None:
    detection, curator = make_detection(), make_user()
    give_verdict(detection, curator, label="real")
    give_verdict(detection, curator, label="bogus")
    withdraw_verdict(detection, curator)
    rows = list(detection_verdicts(detection).values_list("sequence", "label"))
    assert rows == [(1, "real"), (2, "bogus"), (3, "withdrawn")]
    assert current_verdict(detection, curator) is None
    assert give_verdict(detection, curator, label="bogus").sequence == 4


def test_there_is_nothing_to_withdraw_without_a_verdict() -> None:
    detection, curator = make_detection(), make_user()
    with pytest.raises(ApplicationError, match="none to withdraw"):
        withdraw_verdict(detection, curator)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"label": "withdrawn"}, "label"),
        ({"label": "maybe"}, "label"),
        ({"label": "bogus", "reason": "ugly"}, "reason"),
        ({"label": "real", "reason": "dipole"}, "only a bogus"),
    ],
)
def test_an_impossible_answer_is_refused(said: dict[str, str], complaint: str) -> None:
    with pytest.raises(ApplicationError, match=complaint):
        give_verdict(make_detection(), make_user(), **said)
    assert Verdict.objects.count() == 0


@pytest.mark.parametrize(
    ("label", "state", "classification"),
    [
        ("real", "confirmed", ""),
        ("bogus", "rejected", ""),
        ("variable", "candidate", "variable"),
        ("moving", "candidate", "moving"),
        ("unsure", "candidate", ""),
    ],
)
def test_a_verdict_decides_about_the_object(label: str, state: str, classification: str) -> None:
    owner = make_object()
    detection = make_member(owner)
    give_verdict(detection, make_user(), label=label)
    owner.refresh_from_db()
    assert (owner.state, owner.classification) == (state, classification)


def test_withdrawing_gives_the_word_to_the_verdict_before() -> None:
    owner = make_object()
    detection, other, curator = make_member(owner), make_member(owner), make_user()
    give_verdict(detection, make_user(), label="real")
    give_verdict(other, curator, label="bogus")
    owner.refresh_from_db()
    assert owner.state == AstroObject.State.CANDIDATE, "one says real, one bogus: it is disputed"
    withdraw_verdict(other, curator)
    owner.refresh_from_db()
    assert owner.state == AstroObject.State.CONFIRMED
    assert [row.label for row in verdict_history(owner)] == ["withdrawn", "bogus", "real"]


def test_two_curators_have_two_current_verdicts() -> None:
    detection = make_detection()
    for label in ("real", "bogus"):
        give_verdict(detection, make_user(), label=label)
    labels = current_verdicts([detection.pk]).values_list("label", flat=True)
    assert sorted(labels) == ["bogus", "real"]


def test_the_queue_offers_the_best_candidate_of_each_object_once() -> None:
    owner, curator = make_object(), make_user()
    weak = make_member(owner, make_detection(real_bogus=0.6, scorer="m"))
    best = make_member(owner, make_detection(real_bogus=0.9, scorer="m"))
    alone = make_detection(real_bogus=0.8, scorer="m", ra=None, dec=None)
    unscored = make_detection(score=50.0)
    make_detection(is_kept=False, real_bogus=1.0, scorer="m")
    assert next_candidates(curator) == [best, alone, unscored]
    assert weak not in next_candidates(curator)
    assert open_count(curator) == 3
    assert next_candidates(curator, limit=1, exclude=[best.pk]) == [alone]


def test_a_survey_that_is_put_aside_leaves_the_queue() -> None:
    curator, detection = make_user(), make_detection()
    survey = detection.observation.survey
    assert next_candidates(curator) == [detection]
    survey.is_active = False
    survey.save()
    assert (next_candidates(curator), open_count(curator)) == ([], 0)


def test_a_decided_object_leaves_my_queue_and_an_undo_brings_it_back() -> None:
    owner, me, you = make_object(), make_user(), make_user()
    detection = make_member(owner)
    make_member(owner)
    give_verdict(detection, me, label="unsure")
    assert next_candidates(me) == []
    assert open_count(me) == 0
    assert len(next_candidates(you)) == 1
    withdraw_verdict(detection, me)
    assert len(next_candidates(me)) == 1


def test_fading_sources_are_ranked_by_the_strength_of_their_score() -> None:
    faint, faded = make_detection(score=6.0), make_detection(score=-30.0)
    assert next_candidates(make_user()) == [faded, faint]


def test_an_object_of_many_epochs_does_not_hide_the_others() -> None:
    owner = make_object()
    run = make_detection().run
    for _ in range(30):
        make_member(owner, make_detection(run, score=99.0))
    last = make_detection(run, score=5.0)
    assert next_candidates(make_user(), limit=3)[-1] == last


@pytest.mark.django_db(transaction=True)
def test_the_same_key_pressed_in_eight_windows_is_one_verdict() -> None:
    detection, curator = make_detection(), make_user()
    errors: list[BaseException] = []

    def press() -> None:
        try:
            give_verdict(detection, curator, label="real")
        except Exception as error:
            errors.append(error)
            raise
        finally:
            connections.close_all()

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert Verdict.objects.count() == 1
