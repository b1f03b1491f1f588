"""Somebody leaves: they get in by no door any more, and what they did stays."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from astrid_site.accounts import services
from astrid_site.accounts.models import User
from astrid_site.core.models import AuditEntry
from curation.models import Verdict
from curation.services import give_verdict
from tests.catalog.factories import make_detection
from tests.web.factories import PASSWORD

pytestmark = pytest.mark.django_db


def close(name: str) -> str:
    out = StringIO()
    call_command("deactivate_account", name, stdout=out)
    return out.getvalue()


def test_a_closed_account_opens_no_door_and_its_verdicts_stay(people: dict[str, User]) -> None:
    leaver = people["researcher"]
    verdict = give_verdict(make_detection(), leaver, label="real")
    _, secret = services.create_api_key(leaver, name="k", can_write=True)
    session, program = Client(), APIClient()
    session.force_login(leaver)
    program.credentials(HTTP_AUTHORIZATION=f"Key {secret}")
    assert session.get("/").status_code == program.get("/api/v1/jobs/").status_code == 200

    assert close(leaver.username) == f"The account {leaver.username} is closed; verdicts stay.\n"

    assert session.get("/").status_code == 302
    assert program.get("/api/v1/jobs/").status_code == 401
    login = {"username": leaver.username, "password": PASSWORD}
    assert Client().post(reverse("accounts:login"), login).status_code == 200
    assert Verdict.objects.get().curator == leaver
    assert Verdict.objects.get().pk == verdict.pk
    entry = AuditEntry.objects.get(action="account.deactivated")
    assert (entry.subject_id, entry.after) == (str(leaver.pk), {"keys_revoked": 1})


def test_an_account_that_is_opened_again_has_no_key(people: dict[str, User]) -> None:
    _, secret = services.create_api_key(people["researcher"], name="k", can_write=True)
    close(people["researcher"].username)
    User.objects.update(is_active=True)
    program = APIClient()
    program.credentials(HTTP_AUTHORIZATION=f"Key {secret}")
    assert program.get("/api/v1/jobs/").status_code == 401


def test_closing_twice_is_told_and_is_one_entry(people: dict[str, User]) -> None:
    close("viewer-person")
    assert "was closed before" in close("viewer-person")
    assert AuditEntry.objects.filter(action="account.deactivated").count() == 1


def test_nobody_of_that_name_is_told() -> None:
    with pytest.raises(CommandError, match="no account nobody"):
        close("nobody")
