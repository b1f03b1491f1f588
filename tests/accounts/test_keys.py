"""API keys: shown once, stored as a hash, ended for good."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import serializers
from django.utils import timezone
from rest_framework.test import APIClient

from astrid_site.accounts import services
from astrid_site.accounts.models import ApiKey, User
from astrid_site.core.models import AuditEntry

pytestmark = pytest.mark.django_db
LIST = "/api/v1/observations/"


def client_with(secret: str) -> APIClient:
    client = APIClient(enforce_csrf_checks=True)
    client.credentials(HTTP_AUTHORIZATION=f"Key {secret}")
    return client


def test_a_key_is_made_once_shown_once_and_kept_only_as_a_hash(people: dict[str, User]) -> None:
    client = APIClient()
    client.force_login(people["researcher"])
    made = client.post("/api/v1/keys/", {"name": "night"})
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert len(secret) > 50
    listed = client.get("/api/v1/keys/").json()["results"]
    assert [k["name"] for k in listed] == ["night"]
    assert secret not in str(listed)
    dump = serializers.serialize("json", [*ApiKey.objects.all(), *AuditEntry.objects.all()])
    assert secret not in dump
    assert secret.split("_", 2)[2] not in dump
    assert client_with(secret).get(LIST).status_code == 200
    assert AuditEntry.objects.filter(action="api_key.created").count() == 1


def test_a_reading_key_reads_and_cannot_write(people: dict[str, User]) -> None:
    _, secret = services.create_api_key(people["researcher"], name="r", can_write=False)
    client = client_with(secret)
    assert client.get(LIST).status_code == 200
    assert client.post(LIST, {"survey": "x"}, format="multipart").status_code == 403
    nobody = "00000000-0000-4000-8000-000000000000"
    verdict = f"/api/v1/candidates/{nobody}/verdict/"
    assert client.put(verdict, {"label": "real"}).status_code == 403
    assert client.delete(verdict).status_code == 403


def test_a_writing_key_writes_without_csrf_but_makes_no_keys(people: dict[str, User]) -> None:
    _, secret = services.create_api_key(people["researcher"], name="w", can_write=True)
    client = client_with(secret)
    assert client.post(LIST, {"survey": "x"}, format="multipart").status_code == 400  # no file
    assert client.post("/api/v1/keys/", {"name": "child"}).status_code == 403


def test_a_key_can_do_no_more_than_its_owner(people: dict[str, User]) -> None:
    _, secret = services.create_api_key(people["viewer"], name="w", can_write=True)
    assert client_with(secret).post(LIST, {"survey": "x"}, format="multipart").status_code == 403


def test_dead_keys_open_nothing(people: dict[str, User]) -> None:
    user = people["researcher"]
    revoked, revoked_secret = services.create_api_key(user, name="r", can_write=True)
    services.revoke_api_key(revoked, actor=user)
    past = timezone.now() - timedelta(seconds=1)
    _, expired_secret = services.create_api_key(user, name="e", can_write=True, expires_at=past)
    _, good_secret = services.create_api_key(user, name="g", can_write=True)
    answers = {
        client_with(secret).get(LIST).content
        for secret in (revoked_secret, expired_secret, "ak_00000000_guess", good_secret[:-1])
    }
    assert len(answers) == 1  # all alike: nobody learns which keys there were
    assert b"not valid" in answers.pop()
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert client_with(good_secret).get(LIST).status_code == 401


@pytest.mark.parametrize("words", ["Key", "Key a b", "Bearer x", "Basic YTpi", "key \xff"])
def test_other_credentials_are_refused(people: dict[str, User], words: str) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=words)
    assert client.get(LIST).status_code == 401


def test_a_key_in_the_address_is_no_credential(people: dict[str, User]) -> None:
    _, secret = services.create_api_key(people["researcher"], name="k", can_write=True)
    for name in ("api_key", "key", "token", "Authorization"):
        assert APIClient().get(LIST, {name: secret}).status_code == 401


def test_a_key_opens_no_page(people: dict[str, User]) -> None:
    _, secret = services.create_api_key(people["admin"], name="k", can_write=True)
    client = client_with(secret)
    assert client.get("/").status_code == 302
    assert client.get("/admin/").status_code == 302


def test_the_time_of_last_use_is_kept(people: dict[str, User]) -> None:
    key, secret = services.create_api_key(people["researcher"], name="k", can_write=False)
    client_with(secret).get(LIST)
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert timezone.now() - key.last_used_at < timedelta(seconds=30)


def test_a_key_born_dead_or_nameless_is_refused(people: dict[str, User]) -> None:
    client = APIClient()
    client.force_login(people["researcher"])
    past = (timezone.now() - timedelta(days=1)).isoformat()
    for said in ({"name": "x", "expires_at": past}, {"name": ""}, {"name": "x" * 101}, {}):
        assert client.post("/api/v1/keys/", said).status_code == 400
    assert ApiKey.objects.count() == 0
