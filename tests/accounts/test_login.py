"""Logging in: one way, limited, on record, and sessions that end when they should."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher, PBKDF2PasswordHasher
from django.test import Client
from django.urls import reverse

from astrid_site.accounts.models import LoginFailure, User
from astrid_site.core.models import AuditEntry
from tests.web.factories import PASSWORD

pytestmark = pytest.mark.django_db
LOGIN = "/account/login/"
NEW_PASSWORD = "another long password 7"


def try_login(username: str, password: str, *, client: Client | None = None, **extra: Any) -> Any:
    said = {"username": username, "password": password}
    return (client or Client()).post(LOGIN, said, **extra)


def test_the_session_changes_its_name_at_login_and_ends_at_logout(people: dict[str, User]) -> None:
    client = Client()
    client.session.update({"visited": True})
    client.session.save()
    before = client.session.session_key
    assert try_login("viewer-person", PASSWORD, client=client).status_code == 302
    after = client.session.session_key
    assert after != before
    assert client.get("/").status_code == 200
    client.post("/account/logout/")
    old = Client()
    old.cookies["sessionid"] = str(after)
    assert old.get("/").status_code == 302


def test_a_changed_password_ends_every_other_session(people: dict[str, User]) -> None:
    here, elsewhere = Client(), Client()
    for client in (here, elsewhere):
        try_login("viewer-person", PASSWORD, client=client)
    said = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    assert here.post("/account/password/", said).status_code == 302
    assert here.get("/").status_code == 200
    assert elsewhere.get("/").status_code == 302


def test_a_disabled_account_is_out_at_once_and_cannot_return(people: dict[str, User]) -> None:
    client = Client()
    try_login("viewer-person", PASSWORD, client=client)
    User.objects.filter(username="viewer-person").update(is_active=False)
    assert client.get("/").status_code == 302
    assert client.get("/api/v1/observations/").status_code == 401
    assert try_login("viewer-person", PASSWORD).status_code == 200


@pytest.mark.parametrize("password", ["short", "password1234", "viewer-person", "123456789012"])
def test_weak_passwords_are_refused(people: dict[str, User], password: str) -> None:
    client = Client()
    client.force_login(people["viewer"])
    said = {"old_password": PASSWORD, "new_password1": password, "new_password2": password}
    assert client.post("/account/password/", said).status_code == 200
    assert User.objects.get(username="viewer-person").check_password(PASSWORD)


def test_no_account_exists_until_somebody_makes_one() -> None:
    assert User.objects.count() == 0
    assert try_login("admin", "admin").status_code == 200


@pytest.mark.parametrize("username", ["viewer-person", "nobody-at-all"])
def test_after_ten_failures_even_the_right_password_must_wait(
    people: dict[str, User], username: str
) -> None:
    answers = [try_login(username, f"wrong {i}", REMOTE_ADDR=f"10.0.0.{i}") for i in range(12)]
    assert [a.status_code for a in answers] == [200] * 10 + [429] * 2
    last = try_login(username, PASSWORD, REMOTE_ADDR="10.0.1.1")
    assert last.status_code == 429
    assert "Too many attempts" in last.content.decode()
    assert LoginFailure.objects.count() == 10


def test_known_and_unknown_names_are_told_the_same(people: dict[str, User]) -> None:
    known = try_login("viewer-person", "wrong").content.decode()
    unknown = try_login("viewer-persom", "wrong").content.decode()
    assert without_token(known).replace("viewer-person", "") == without_token(unknown).replace(
        "viewer-persom", ""
    )


def without_token(page: str) -> str:
    return "\n".join(line for line in page.splitlines() if "csrfmiddlewaretoken" not in line)


def test_an_address_that_guesses_many_names_must_wait_and_others_need_not(
    people: dict[str, User],
) -> None:
    for i in range(10):
        assert try_login(f"name-{i}", "wrong", REMOTE_ADDR="10.9.9.9").status_code == 200
    assert try_login("viewer-person", PASSWORD, REMOTE_ADDR="10.9.9.9").status_code == 429
    assert try_login("viewer-person", PASSWORD, REMOTE_ADDR="10.9.9.8").status_code == 302


def test_a_made_up_forwarded_address_does_not_get_around_the_limit(people: dict[str, User]) -> None:
    statuses = [
        try_login(f"name-{i}", "wrong", HTTP_X_FORWARDED_FOR=f"8.8.8.{i}").status_code
        for i in range(12)
    ]
    assert statuses == [200] * 10 + [429] * 2


def test_behind_one_proxy_the_address_the_proxy_saw_counts(
    people: dict[str, User], settings: Any
) -> None:
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
    for i in range(10):
        typed = f"1.2.3.{i}, 10.7.7.7"  # the client typed the first, the proxy added the second
        try_login(f"name-{i}", "wrong", HTTP_X_FORWARDED_FOR=typed)
    assert set(LoginFailure.objects.values_list("address", flat=True)) == {"10.7.7.7"}
    late = try_login("name-x", "wrong", HTTP_X_FORWARDED_FOR="5.5.5.5, 10.7.7.7")
    assert late.status_code == 429


def test_a_success_forgets_only_the_same_persons_failures_at_the_same_address(
    people: dict[str, User],
) -> None:
    for name, address in (
        ("viewer-person", "10.0.0.1"),
        ("viewer-person", "10.0.0.2"),
        ("x", "10.0.0.1"),
    ):
        try_login(name, "wrong", REMOTE_ADDR=address)
    try_login("viewer-person", PASSWORD, REMOTE_ADDR="10.0.0.1")
    assert LoginFailure.objects.count() == 2


def test_logins_are_on_record_without_names_or_secrets_of_failures(
    people: dict[str, User],
) -> None:
    try_login("my secret typed in the wrong box", "wrong", REMOTE_ADDR="10.0.0.1")
    try_login("viewer-person", PASSWORD, REMOTE_ADDR="10.0.0.2")
    failed = AuditEntry.objects.get(action="login.failed")
    assert (failed.actor, failed.address) == (None, "10.0.0.1")
    assert "secret" not in str(failed.after) + failed.subject_id
    success = AuditEntry.objects.get(action="login.succeeded")
    assert (success.actor, success.address) == (people["viewer"], "10.0.0.2")


def test_an_unknown_name_costs_as_much_time_as_a_known_one(
    people: dict[str, User], settings: Any
) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    people["viewer"].set_password(PASSWORD)
    people["viewer"].save()
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
        "DEFAULT_THROTTLE_RATES": {"login": "1000/min", "user": "1000/min", "upload": "10/min"}
    }
    assert PBKDF2PasswordHasher.iterations > 500_000
    assert MD5PasswordHasher.algorithm == "md5"

    def fastest(name: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            try_login(name, "wrong")
            times.append(time.perf_counter() - start)
        return min(times)

    known, unknown = fastest("viewer-person"), fastest("nobody-at-all")
    # both are one password hash of a quarter second; without it the answer takes 10 ms
    assert 0.5 < known / unknown < 2.0


def test_the_admin_has_no_login_form_of_its_own(people: dict[str, User]) -> None:
    answer = Client().get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0] == f"{LOGIN}?next=/admin/"
    posted = Client().post("/admin/login/", {"username": "admin-person", "password": PASSWORD})
    assert posted.status_code == 302
    assert posted.url.startswith(LOGIN)
    client = Client()
    client.post(f"{LOGIN}?next=/admin/", {"username": "admin-person", "password": PASSWORD})
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "javascript:alert(1)"]
)
def test_login_goes_on_only_to_addresses_of_this_site(people: dict[str, User], target: str) -> None:
    said = {"username": "viewer-person", "password": PASSWORD, "next": target}
    assert Client().post(f"{LOGIN}?next={target}", said).url == reverse("home")


def test_writes_with_a_session_need_the_csrf_token(people: dict[str, User]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["curator"])
    assert client.post("/vet/undo/").status_code == 403
    nobody = "00000000-0000-4000-8000-000000000000"
    path = f"/api/v1/candidates/{nobody}/verdict/"
    for content_type in ("application/json", "text/plain"):
        body = '{"label": "real"}'
        assert client.generic("PUT", path, body, content_type=content_type).status_code == 403
