"""Several answers about one object: what they come to, who is asked, who settles it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import AuditEntry, Job
from astrid_site.core.status import JobState
from catalog.models import AstroObject
from curation.models import Consensus, ConsensusRule
from curation.selectors import consensus_of, next_candidates
from curation.services import give_verdict, make_rule, run_consensus, withdraw_verdict
from tests.catalog.factories import make_detection, make_member, make_object
from tests.observations.factories import make_user

pytestmark = pytest.mark.django_db


def standing(owner: AstroObject) -> tuple[str, str, int, bool]:
    found = consensus_of(owner.pk)
    assert found is not None
    return found.standing, found.label, found.n_people, found.is_retired


def make_newest(**numbers: Any) -> ConsensusRule:
    return ConsensusRule.objects.create(made_by=make_user(), **numbers)


def test_people_who_disagree_leave_the_object_open_until_a_third_speaks() -> None:
    owner = make_object()
    detection = make_member(owner)
    give_verdict(detection, make_user(), label="real")
    assert standing(owner) == ("agreed", "real", 1, False)
    give_verdict(detection, make_user(), label="bogus")
    assert standing(owner) == ("disputed", "", 2, False)
    owner.refresh_from_db()
    assert owner.state == AstroObject.State.CANDIDATE
    give_verdict(detection, make_user(), label="bogus")
    assert standing(owner) == ("agreed", "bogus", 3, True)
    owner.refresh_from_db()
    assert owner.state == AstroObject.State.REJECTED


def test_one_person_counts_once_on_all_epochs_of_an_object() -> None:
    owner, curator = make_object(), make_user()
    for _ in range(3):
        give_verdict(make_member(owner), curator, label="real")
    assert standing(owner) == ("agreed", "real", 1, False)


def test_an_expert_settles_what_others_dispute_and_may_take_it_back() -> None:
    owner, expert = make_object(), make_user()
    detection = make_member(owner)
    for label in ("real", "bogus", "unsure"):
        give_verdict(detection, make_user(), label=label)
    assert standing(owner) == ("disputed", "", 3, True)
    word = give_verdict(detection, expert, label="real", tier="expert", rating=4)
    assert (word.tier, word.rating) == ("expert", 4)
    assert standing(owner) == ("settled", "real", 4, True)
    owner.refresh_from_db()
    assert owner.state == AstroObject.State.CONFIRMED
    withdraw_verdict(detection, expert)
    assert standing(owner) == ("disputed", "", 3, True)


@pytest.mark.parametrize(
    "wrong", [{"tier": "king"}, {"rating": 3}, {"tier": "expert", "rating": 6}]
)
def test_a_word_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ApplicationError, match=r"tier|rating"):
        give_verdict(make_detection(), make_user(), label="real", **wrong)
    assert not Consensus.objects.exists()


def test_what_is_retired_is_offered_to_nobody_and_an_undo_brings_it_back() -> None:
    make_newest(at_most=5, enough_bogus=2, enough_real=5)
    empty, other = make_detection(score=30.0), make_detection(score=20.0)
    first, second, third = make_user(), make_user(), make_user()
    give_verdict(empty, first, label="bogus")
    assert next_candidates(third) == [empty, other]
    give_verdict(empty, second, label="bogus")
    assert next_candidates(third) == [other]
    withdraw_verdict(empty, second)
    assert next_candidates(third) == [empty, other]


def test_a_new_rule_is_on_record_and_looks_at_all_answers_anew() -> None:
    owner, alone = make_object(), make_detection(ra=None, dec=None)
    detection = make_member(owner)
    give_verdict(detection, make_user(), label="real")
    give_verdict(alone, make_user(), label="bogus")
    rule = make_rule(
        make_user(), votes_needed=2, agreement=0.75, at_most=4, enough_real=3, enough_bogus=2
    )
    assert AuditEntry.objects.get(action="consensus.rule").after["votes_needed"] == 2
    assert Job.objects.get(kind="consensus", subject_id=rule.pk).state == JobState.QUEUED
    told: list[float] = []
    context: Any = SimpleNamespace(subject_id=rule.pk, progress=lambda share, _: told.append(share))
    outcome = run_consensus(context)
    assert outcome.state == JobState.DONE
    assert told == [0.0, 0.5]
    assert standing(owner) == ("open", "", 1, False)
    owner.refresh_from_db()
    assert owner.state == AstroObject.State.CANDIDATE
    told_alone = consensus_of(alone.pk)
    assert told_alone is not None
    assert told_alone.standing == "open"
    assert consensus_of(uuid4()) is None


def test_a_rule_that_asks_for_more_answers_than_people_is_refused() -> None:
    with pytest.raises(ApplicationError, match="cannot be"):
        make_rule(make_user(), at_most=2, enough_real=3, enough_bogus=2)
    assert not ConsensusRule.objects.exists()
    assert not Job.objects.filter(kind="consensus").exists()
