"""What every page has in common, without a browser."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from tests.web import factories
from tests.web.factories import World


@pytest.mark.parametrize("page", ["home", "observations:list", "curation:vet", "catalog:list"])
def test_every_page_says_that_the_sky_is_simulated_while_such_data_is_there(
    sky: World, client_of: Callable[[str], Client], page: str
) -> None:
    # a card of the queue says it of its own frame, since the next may be of another survey
    words = b"simulated sky" if page == "curation:vet" else b"Simulated sky:"
    assert words in client_of("curator").get(reverse(page)).content


def test_no_page_claims_simulation_for_a_real_survey(client_of: Callable[[str], Client]) -> None:
    world = World(factories.make_survey("Real survey", is_simulated=False))
    factories.make_observation(world.survey, 1)
    factories.make_survey("Simulated, and empty")
    assert b"Simulated sky:" not in client_of("viewer").get("/").content


def test_pages_hold_no_inline_script_style_or_foreign_address(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client = client_of("admin")
    for name, arguments in [
        ("home", []),
        ("observations:list", []),
        ("observations:upload", []),
        ("observations:detail", [sky.observations[0].pk]),
        ("observations:viewer", [sky.observations[0].pk]),
        ("curation:vet", []),
        ("catalog:list", []),
        ("catalog:detail", [sky.objects[0].pk]),
        ("accounts:keys", []),
    ]:
        answer = client.get(reverse(name, args=arguments))
        text = answer.content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), name
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text), name
        assert not re.search(r'(?:src|href)="(?:https?:)?//', text), name
        policy = answer["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy


def test_a_login_goes_on_only_to_addresses_of_this_site(db: None) -> None:
    factories.make_user("vera")
    for target, goal in (("/objects/", "/objects/"), ("https://evil.example/", "/")):
        answer = Client().post(
            reverse("accounts:login"),
            {"username": "vera", "password": factories.PASSWORD, "next": target},
        )
        assert (answer.status_code, answer["Location"]) == (302, goal)


def test_a_changed_password_ends_the_other_sessions(db: None) -> None:
    user = factories.make_user("vera")
    here, there = Client(), Client()
    here.force_login(user)
    there.force_login(user)
    fresh = "a new and longer password"
    told = {"old_password": factories.PASSWORD, "new_password1": fresh, "new_password2": fresh}
    assert here.post(reverse("accounts:password"), told).status_code == 302
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302


def test_a_key_is_shown_once_and_can_be_revoked(client_of: Callable[[str], Client]) -> None:
    client, address = client_of("researcher"), reverse("accounts:keys")
    text = client.post(address, {"name": "script", "days": "30"}).content.decode()
    secret = re.search(r"<pre data-secret>([^<]+)</pre>", text)[1]
    assert secret not in client.get(address).content.decode()
    jobs = "/api/v1/observations/"
    as_script = Client(headers={"Authorization": f"Key {secret}"})
    before = as_script.get(jobs).status_code
    revoke = re.search(r'action="(/account/keys/[^"]+)"', text)[1]
    client.post(revoke)
    if before != 404:  # the REST part may be switched off
        assert (before, as_script.get(jobs).status_code) == (200, 401)
    assert "revoked" in client.get(address).content.decode()


def test_nobody_revokes_a_key_of_somebody_else(client_of: Callable[[str], Client]) -> None:
    text = (
        client_of("researcher")
        .post(reverse("accounts:keys"), {"name": "mine", "days": "0"})
        .content.decode()
    )
    revoke = re.search(r'action="(/account/keys/[^"]+)"', text)[1]
    assert client_of("admin").post(revoke).status_code == 404
