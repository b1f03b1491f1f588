"""Every page asks who is there: strangers are sent to the login, roles get what is theirs."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from astrid_site.core.models import StoredFile
from tests.web.conftest import ROLES
from tests.web.factories import World

EVERYBODY = frozenset(ROLES)
CURATORS = frozenset({"curator", "researcher", "admin"})
RESEARCHERS = frozenset({"researcher", "admin"})

PAGES: list[tuple[str, Callable[[World], list[object]], frozenset[str]]] = [
    ("home", lambda w: [], EVERYBODY),
    ("tonight", lambda w: ["funnel"], EVERYBODY),
    ("tonight", lambda w: ["work"], EVERYBODY),
    ("tonight", lambda w: ["failures"], EVERYBODY),
    ("tonight", lambda w: ["workers"], EVERYBODY),
    ("tonight", lambda w: ["newest"], EVERYBODY),
    ("observations:list", lambda w: [], EVERYBODY),
    ("observations:upload", lambda w: [], RESEARCHERS),
    ("observations:detail", lambda w: [w.observations[0].pk], EVERYBODY),
    ("observations:image", lambda w: [w.observations[0].pk, "score"], EVERYBODY),
    ("detection:cutout", lambda w: [w.detections[0].pk, "strip"], EVERYBODY),
    ("detection:pixels", lambda w: [w.detections[0].pk, "any"], EVERYBODY),
    ("curation:vet", lambda w: [], CURATORS),
    ("curation:queue", lambda w: [], CURATORS),
    ("curation:vet_candidate", lambda w: [w.detections[0].pk], CURATORS),
    ("catalog:list", lambda w: [], EVERYBODY),
    ("catalog:detail", lambda w: [w.objects[0].pk], EVERYBODY),
    ("catalog:finder", lambda w: [w.objects[0].pk], EVERYBODY),
    ("accounts:keys", lambda w: [], EVERYBODY),
    ("accounts:password", lambda w: [], EVERYBODY),
]
ACTIONS: list[tuple[str, Callable[[World], list[object]], frozenset[str]]] = [
    ("observations:upload", lambda w: [], RESEARCHERS),
    ("observations:retry", lambda w: [w.observations[0].pk], RESEARCHERS),
    ("observations:cancel", lambda w: [w.observations[0].pk], RESEARCHERS),
    ("curation:decide", lambda w: [], CURATORS),
    ("curation:undo", lambda w: [], CURATORS),
    ("curation:presence", lambda w: [], CURATORS),
    ("curation:leave", lambda w: [], CURATORS),
    ("accounts:keys", lambda w: [], RESEARCHERS),
]


@pytest.mark.parametrize(("name", "arguments", "allowed"), PAGES)
def test_a_page_is_shown_to_its_roles_and_to_nobody_else(
    sky: World,
    client_of: Callable[[str], Client],
    name: str,
    arguments: Callable[[World], list[object]],
    allowed: frozenset[str],
) -> None:
    address = reverse(name, args=arguments(sky))
    seen = {role: client_of(role).get(address).status_code for role in ROLES}
    assert seen == {role: 200 if role in allowed else 403 for role in ROLES}
    stranger = client_of("anonymous").get(address)
    assert (stranger.status_code, stranger["Location"].split("?")[0]) == (302, "/account/login/")


@pytest.mark.parametrize(("name", "arguments", "allowed"), ACTIONS)
def test_an_action_is_refused_to_other_roles_and_never_done_by_a_get(
    sky: World,
    client_of: Callable[[str], Client],
    name: str,
    arguments: Callable[[World], list[object]],
    allowed: frozenset[str],
) -> None:
    address = reverse(name, args=arguments(sky))
    refused = {role for role in ROLES if client_of(role).post(address).status_code == 403}
    assert refused == EVERYBODY - allowed
    assert client_of("anonymous").post(address).status_code == 302


def test_a_form_without_its_token_is_refused(sky: World, client_of: Callable[..., Client]) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(client_of("curator").session and _user("curator"))
    answer = careful.post(reverse("curation:decide"), {"detection": str(sky.detections[0].pk)})
    assert answer.status_code == 403


def _user(name: str):
    from astrid_site.accounts.models import User

    return User.objects.get(username=name)


@pytest.mark.parametrize("role", ["anonymous", *ROLES])
def test_an_unknown_address_tells_nothing(client_of: Callable[[str], Client], role: str) -> None:
    client = client_of(role)
    assert client.get("/no/such/page/").status_code == 404
    unknown = client.get(reverse("catalog:detail", args=[uuid4()]))
    assert unknown.status_code == (302 if role == "anonymous" else 404)


def test_files_are_refused_to_strangers(sky: World, client_of: Callable[[str], Client]) -> None:
    address = reverse("previews", args=[StoredFile.objects.all()[0].pk])
    assert client_of("anonymous").get(address).status_code == 302
