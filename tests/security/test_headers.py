"""Every answer carries the headers that keep browsers from being used against people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import include, path

from tests.web.factories import World

pytestmark = pytest.mark.django_db


def fail(request: Any) -> None:
    msg = "secret detail /secret/path"
    raise RuntimeError(msg)


urlpatterns = [path("broken/", fail), path("", include("astrid_site.urls"))]


def check(response: Any) -> None:
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    policy = dict(
        part.strip().split(" ", 1) for part in response["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'self'"
    assert policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in response["Content-Security-Policy"]
    assert not {"style-src", "script-src", "connect-src"} & set(policy)  # default-src holds for all


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/vet/",
        "/observations/",
        "/objects/",
        "/account/",
        "/admin/",
        "/admin/detection/detection/",
        "/api/v1/observations/",
        "/api/v1/docs/",
        "/api/v1/schema/",
        "/api/v1/nowhere/",
        "/nowhere/",
        "/api/v1/health/live/",
    ],
)
def test_pages_api_and_errors_carry_the_headers_and_are_stored_nowhere(
    browser_as: Callable[[str], Client], world: World, address: str
) -> None:
    for role in ("anonymous", "admin"):
        response = browser_as(role).get(address)
        check(response)
        assert response["X-Frame-Options"] == "DENY"
        assert "no-store" in response["Cache-Control"] or "no-cache" in response["Cache-Control"]
        assert {"Cookie", "Authorization"} <= set(response["Vary"].replace(" ", "").split(","))


def test_static_files_carry_the_headers_too(client: Client) -> None:
    response = client.get("/static/css/base.css")
    assert response.status_code == 200
    check(response)
    assert b"".join(response.streaming_content)
    assert client.get("/static/../astrid_site/settings.py").status_code == 404
    assert client.get("/static/..%2fastrid_site/settings.py").status_code == 404


@override_settings(ROOT_URLCONF="tests.security.test_headers")
def test_a_crash_tells_nothing_of_the_inside(browser_as: Callable[[str], Client]) -> None:
    browser = browser_as("viewer")
    browser.raise_request_exception = False
    response = browser.get("/broken/")
    assert response.status_code == 500
    check(response)
    page = response.content.decode()
    assert "secret detail" not in page
    assert "Traceback" not in page


@pytest.mark.parametrize(
    "address",
    ["/.git/config", "/.env", "/manage.py", "/media/x", "/var/astrid.sqlite3", "/server-status"],
)
def test_nothing_of_the_machine_is_served(
    browser_as: Callable[[str], Client], address: str
) -> None:
    assert browser_as("admin").get(address).status_code == 404


def test_strangers_learn_no_versions_and_no_origin_is_let_in(client: Client) -> None:
    for address in ("/api/v1/health/live/", "/api/v1/health/ready/", "/account/login/"):
        response = client.get(address, HTTP_ORIGIN="https://evil.example")
        assert "Access-Control-Allow-Origin" not in response
        assert "Server" not in response
    assert set(client.get("/api/v1/health/ready/").json()) == {"status"}


def test_a_method_is_not_overridden_by_a_header_or_a_field(
    browser_as: Callable[[str], Client], world: World
) -> None:
    address = f"/api/v1/candidates/{world.detections[0].pk}/verdict/"
    browser = browser_as("curator")
    told = browser.post(address, {"_method": "DELETE"}, HTTP_X_HTTP_METHOD_OVERRIDE="DELETE")
    assert told.status_code == 405
    assert browser.generic("TRACE", address).status_code == 405


def test_a_host_nobody_allowed_is_refused(client: Client) -> None:
    assert client.get("/account/login/", HTTP_HOST="evil.example").status_code == 400


def test_too_many_fields_are_refused(browser_as: Callable[[str], Client]) -> None:
    fields = {f"f{i}": "x" for i in range(1100)}
    browser = browser_as("researcher")
    assert browser.post("/account/login/", fields).status_code in {302, 400}
    answer = browser.post("/api/v1/observations/", fields)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


def test_stored_files_are_attachments_of_a_fixed_type(
    browser_as: Callable[[str], Client], db: None
) -> None:
    from astrid_site.core.models import FileKind
    from astrid_site.core.storage import put_bytes

    evil = put_bytes(
        b"<script>alert(1)</script>", kind=FileKind.RAW, name='x".html', media_type="text/html"
    )
    response = browser_as("viewer").get(f"/files/{evil.pk}/")
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment")
    assert "sandbox" in response["Content-Security-Policy"]
    response.close()
