"""The page of what people say together, and settling what they dispute."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from astrid_site.core.models import Job
from catalog.models import AstroObject
from curation.models import Consensus, ConsensusRule, Verdict
from curation.services import give_verdict
from tests.catalog.factories import make_detection, make_member, make_object
from tests.web import factories

pytestmark = pytest.mark.django_db
RULE = {
    "votes_needed": 2,
    "agreement": 0.75,
    "at_most": 5,
    "enough_real": 4,
    "enough_bogus": 2,
    "expert_settles": "on",
}


@pytest.fixture
def disputed() -> AstroObject:
    """One object of which one says real and one bogus."""
    owner = make_object()
    detection = make_member(owner, make_detection(real_bogus=0.6, scorer="m 1"))
    for name, label, reason in (("ada", "real", ""), ("ben", "bogus", "dipole")):
        give_verdict(detection, factories.make_user(name, "curator"), label=label, reason=reason)
    return owner


def client_of(name: str, role: str) -> Client:
    client = Client()
    client.force_login(factories.make_user(name, role))
    return client


def best(owner: AstroObject) -> Any:
    return owner.members.get().detection


def test_a_dispute_is_listed_with_who_said_what(disputed: AstroObject) -> None:
    page = client_of("eve", "viewer").get("/vet/together/")
    text = page.content.decode()
    assert disputed.name in text
    assert "dipole" in text
    assert "Look and settle" not in text
    assert page.context["page"].standings[2] == ("disputed", "disputed", 1)
    assert f"/vet/{best(disputed).pk}/" not in text, "who may not vet is led to no candidate"
    curators = client_of("cem", "curator").get("/vet/together/").content.decode()
    assert f"/vet/{best(disputed).pk}/" in curators
    assert "settle=1" not in curators


def test_an_expert_settles_it_with_one_answer(disputed: AstroObject) -> None:
    expert, detection = client_of("fay", "researcher"), best(disputed)
    address = f"/vet/{detection.pk}/?settle=1"
    assert address in expert.get("/vet/together/").content.decode()
    page = expert.get(address).content.decode()
    assert "You settle this" in page
    assert "ben said bogus" in page
    answer = expert.post(
        "/vet/decide/",
        {"detection": detection.pk, "label": "real", "tier": "expert", "rating": "5"},
    )
    assert answer["Location"] == "/vet/together/"
    disputed.refresh_from_db()
    assert disputed.state == AstroObject.State.CONFIRMED
    assert Consensus.objects.get(unit=disputed.pk).standing == "settled"
    assert "expert, 5 of 5" in expert.get(f"/objects/{disputed.pk}/").content.decode()


def test_a_curator_cannot_settle(disputed: AstroObject) -> None:
    curator, detection = client_of("cem", "curator"), best(disputed)
    assert curator.get(f"/vet/{detection.pk}/?settle=1").status_code == 403
    said = {"detection": detection.pk, "label": "real", "tier": "expert"}
    assert curator.post("/vet/decide/", said).status_code == 403
    assert not Verdict.objects.filter(tier="expert").exists()


def test_what_others_say_is_shown_only_after_ones_own_answer(disputed: AstroObject) -> None:
    curator, detection = client_of("cem", "curator"), best(disputed)
    assert "ada said" not in curator.get(f"/vet/{detection.pk}/").content.decode()
    curator.post("/vet/decide/", {"detection": detection.pk, "label": "bogus"})
    assert "ada said real" in curator.get(f"/vet/{detection.pk}/").content.decode()


def test_a_researcher_makes_another_rule(disputed: AstroObject) -> None:
    researcher = client_of("fay", "researcher")
    assert "Make another rule" in researcher.get("/vet/together/").content.decode()
    answer = researcher.post("/vet/together/rule/", RULE)
    assert answer["Location"] == "/vet/together/"
    rule = ConsensusRule.objects.get()
    assert (rule.votes_needed, rule.agreement, rule.made_by.username) == (2, 0.75, "fay")
    assert Job.objects.filter(kind="consensus", subject_id=rule.pk).exists()
    assert "made by fay" in researcher.get("/vet/together/").content.decode()


@pytest.mark.parametrize(
    "wrong", [{"agreement": "0.5"}, {"enough_real": "6"}, {"votes_needed": ""}, {"at_most": "0"}]
)
def test_a_rule_that_cannot_be_is_said_and_not_kept(wrong: dict[str, str]) -> None:
    answer = client_of("fay", "researcher").post("/vet/together/rule/", RULE | wrong)
    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert not ConsensusRule.objects.exists()


def test_nobody_disagrees_at_first() -> None:
    page = client_of("eve", "viewer").get("/vet/together/").content.decode()
    assert "Nobody disagrees" in page
    assert "as AstrID comes" in page
