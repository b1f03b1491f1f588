"""Every refusal of the REST interface has one shape, whoever refuses: view, guard or router."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils.module_loading import import_string
from rest_framework.test import APIClient

from astrid_site.core.body_guard import BodyGuard
from astrid_site.core.log_lines import RefusalsInOneLine
from astrid_site.views import errors
from tests.api.fixtures import frame_bytes
from tests.api.test_submission import submit
from tests.web.factories import World

MEMBERS = {"type", "title", "status", "code", "detail"}


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The body of a refusal, if it has the shape that docs/api.md tells."""
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(answer.content)
    assert set(body) >= MEMBERS
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:astrid:problem:{code}"
    assert body["title"] not in ("", "Error")
    assert body["detail"]
    return body


@pytest.mark.django_db
@pytest.mark.parametrize("key", [None, "Key ak_wrong_wrong", "Key too many words"])
def test_who_is_not_signed_in_is_told_so_in_the_one_shape(key: str | None) -> None:
    answer = Client().get("/api/v1/jobs/", headers={"Authorization": key} if key else {})
    problem(answer, 401, "authentication_failed" if key else "not_authenticated")
    assert answer["WWW-Authenticate"] == "Key"


@pytest.mark.django_db
def test_a_refused_frame_is_a_problem_too_also_when_it_is_sent_again(
    api_as: Callable[[str], APIClient],
) -> None:
    client = api_as("researcher")
    for _ in range(2):
        answer = submit(client, b"no FITS at all" * 300, key="once")
        body = problem(answer, 422, answer.json()["code"])
        assert body["outcome"] == "refused"
    assert submit(client, frame_bytes(5)).status_code == 202


@pytest.mark.django_db
def test_refusals_of_views_and_of_the_router_have_the_one_shape(
    api_as: Callable[[str], APIClient], world: World
) -> None:
    viewer, curator = api_as("viewer"), api_as("curator")
    verdict = f"/api/v1/candidates/{world.detections[0].pk}/verdict/"
    problem(viewer.put(verdict, {"label": "real"}), 403, "permission_denied")
    problem(viewer.get("/api/v1/nothing/"), 404, "not_found")
    problem(viewer.get(verdict.replace(str(world.detections[0].pk), "0" * 32)), 404, "not_found")
    problem(viewer.post("/api/v1/jobs/", {}), 405, "method_not_allowed")
    assert problem(curator.put(verdict, {}), 400, "invalid")["errors"]
    problem(curator.put(verdict, "<x/>", content_type="text/xml"), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("handler", "status", "code"),
    [
        (lambda r: errors.bad_request(r, ValueError()), 400, "refused"),
        (lambda r: errors.not_allowed(r, PermissionError()), 403, "permission_denied"),
        (errors.failed, 500, "internal"),
    ],
)
def test_what_fails_outside_of_the_views_has_the_one_shape(
    handler: Callable[[HttpRequest], HttpResponse], status: int, code: str
) -> None:
    problem(handler(RequestFactory().get("/api/v1/jobs/")), status, code)
    page = handler(RequestFactory().get("/objects/"))
    assert page.status_code == status
    assert page["Content-Type"].startswith("text/html")


def test_the_guard_before_django_refuses_in_the_one_shape() -> None:
    sent: list[Any] = []

    async def inner(*_: Any) -> None:
        pytest.fail("a stranger's large body went through")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", b"99999999")]
    asyncio.run(BodyGuard(inner)({"type": "http", "headers": headers}, inner, send))
    start, body = sent
    answer = HttpResponse(body["body"], status=start["status"])
    answer["Content-Type"] = dict(start["headers"])[b"content-type"].decode()
    problem(answer, 401, "not_authenticated")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/vet/", "/objects/00000000-0000-0000-0000-000000000000/"])
def test_a_refusal_is_one_line_of_the_log_and_a_defect_keeps_its_traceback(
    browser_as: Callable[[str], Client], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.handler.addFilter(RefusalsInOneLine())
    assert browser_as("viewer").get(path).status_code in {403, 404}
    (record,) = (r for r in caplog.records if r.name == "django.request")
    assert "Traceback" not in caplog.text
    assert record.exc_info is None
    broken = logging.makeLogRecord({"status_code": 500, "exc_info": (ValueError, None, None)})
    RefusalsInOneLine().filter(broken)
    assert broken.exc_info


def test_the_log_of_the_product_takes_refusals_in_one_line() -> None:
    (told,) = settings.LOGGING["handlers"]["stderr"]["filters"]
    assert import_string(settings.LOGGING["filters"][told]["()"]) is RefusalsInOneLine
