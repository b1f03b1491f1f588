"""Verdicts through REST: one per person and round, appended, taken back, never lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from astrid_site.core.models import AuditEntry
from catalog.models import AstroObject
from curation.models import Verdict
from tests.web.factories import World

pytestmark = pytest.mark.django_db
Api = Callable[[str], APIClient]


def verdict_url(world: World, number: int = 0) -> str:
    return f"/api/v1/candidates/{world.detections[number].pk}/verdict/"


def test_saying_the_same_twice_is_said_once_and_a_change_of_mind_is_kept(
    api_as: Api, world: World
) -> None:
    client, url = api_as("curator"), verdict_url(world)
    first = client.put(url, {"label": "real", "seconds": 2.5})
    assert first.status_code == 200, first.content
    assert client.put(url, {"label": "real"}).json()["id"] == first.json()["id"]
    changed = client.put(url, {"label": "bogus", "reason": "dipole", "comment": "a pair"})
    assert changed.json()["sequence"] == 2
    history = client.get(url).json()
    assert [(v["sequence"], v["label"]) for v in history] == [(1, "real"), (2, "bogus")]
    assert {v["curator"] for v in history} == {"curator-person"}
    assert AuditEntry.objects.filter(action="verdict.give").count() == 2


def test_a_verdict_decides_the_object_and_taking_it_back_undoes_that(
    api_as: Api, world: World
) -> None:
    client, url = api_as("curator"), verdict_url(world)

    def state() -> str:
        return AstroObject.objects.get(members__detection=world.detections[0]).state

    client.put(url, {"label": "real"})
    assert state() == "confirmed"
    assert client.delete(url).status_code == 204
    assert state() == "candidate"
    again = client.delete(url)
    assert again.status_code == 400
    assert "no verdict" in again.json()["detail"]
    assert Verdict.objects.count() == 2


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"label": "withdrawn"},
        {"label": "maybe"},
        {"label": ["real"]},
        {"label": "real", "reason": "dipole"},
        {"label": "bogus", "reason": "boring"},
        {"label": "real", "seconds": "nan"},
        {"label": "real", "seconds": -1},
        {"label": "real", "round": 0},
        {"label": "real", "round": 10**30},
        {"label": "real", "comment": "a\0b"},
        {"label": "real", "comment": "x" * 2001},
    ],
)
def test_what_is_no_verdict_is_refused_and_leaves_nothing(
    api_as: Api, world: World, said: dict[str, Any]
) -> None:
    answer = api_as("curator").put(verdict_url(world), said)
    assert answer.status_code == 400, answer.content
    assert Verdict.objects.count() == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"label": "real", "seconds": NaN}',
        b'{"label": "real", "seconds": 1e999}',
        b'{"label": "\xff"}',
        b'{"label": "\\ud800"}',
        b'{"label": "real", "comment": "\\ud800"}',
        b'{"label": "real", "round": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"label": ' * 5000,
        b"null",
        b"7",
        b"",
        b"{",
    ],
)
def test_json_that_is_none_is_refused(api_as: Api, world: World, body: bytes) -> None:
    client = api_as("curator")
    answer = client.generic("PUT", verdict_url(world), body, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"


def test_read_only_fields_in_the_body_change_nothing(api_as: Api, world: World) -> None:
    said = {"label": "real", "curator": "admin-person", "sequence": 9, "score_shown": 1.0}
    told = api_as("curator").put(verdict_url(world), said).json()
    assert (told["curator"], told["sequence"]) == ("curator-person", 1)


def test_the_queue_skips_what_i_decided_but_not_what_others_did(api_as: Api, world: World) -> None:
    curator, other = api_as("curator"), api_as("researcher")
    before = [c["id"] for c in curator.get("/api/v1/candidates/next/").json()]
    assert len(before) == 3
    curator.put(f"/api/v1/candidates/{before[0]}/verdict/", {"label": "unsure"})
    after = [c["id"] for c in curator.get("/api/v1/candidates/next/?limit=50").json()]
    assert after == before[1:]
    assert [c["id"] for c in other.get("/api/v1/candidates/next/").json()] == before


def test_retry_and_cancel_say_what_they_did_or_why_not(api_as: Api, world: World) -> None:
    client = api_as("researcher")
    failed = world.survey and world.observations[0].__class__.objects.get(status="failed")
    retried = client.post(f"/api/v1/observations/{failed.pk}/retry/")
    assert retried.status_code == 202, retried.content
    assert retried.json()["state"] == "queued"
    refused = client.post(f"/api/v1/observations/{world.observations[0].pk}/retry/")
    assert refused.status_code == 400
    assert "succeeded" in refused.json()["detail"]
    assert client.post(f"/api/v1/observations/{failed.pk}/cancel/").status_code == 204
    failed.refresh_from_db()
    assert failed.status == "cancelled"
    assert AuditEntry.objects.filter(action__startswith="observation.").count() == 2
