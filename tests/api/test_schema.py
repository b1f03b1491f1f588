"""The OpenAPI document says what the endpoints do, and its page needs nobody else."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def test_the_schema_is_valid_and_made_without_a_warning() -> None:
    out, errors = io.StringIO(), io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out, stderr=errors)
    assert "/api/v1/observations/{id}/timeline/" in out.getvalue()
    assert errors.getvalue() == ""


@pytest.mark.django_db
def test_every_api_route_but_the_schemas_own_is_described(
    api_as: Callable[[str], APIClient],
) -> None:
    from astrid_site import api

    described = set(api_as("viewer").get("/api/v1/schema/").json()["paths"])
    routes = {re.sub(r"<(\w+:)?(\w+)>", r"{\2}", str(p.pattern)) for p in api.urlpatterns}
    missing = {
        route
        for route in routes - {"schema/", "docs/"}
        if f"/api/v1/{route.replace('{pk}', '{id}')}" not in described
        and f"/api/v1/{route}" not in described
    }
    assert missing == set()


@pytest.mark.django_db
def test_the_table_of_the_documents_names_every_endpoint_and_no_other(
    api_as: Callable[[str], APIClient],
) -> None:
    paths = api_as("viewer").get("/api/v1/schema/").json()["paths"]
    offered = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    rows = re.findall(r"^\| `([A-Z]+ /api/v1/[^`]*)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(offered)


@pytest.mark.django_db
def test_a_refused_frame_is_described_as_a_problem(api_as: Callable[[str], APIClient]) -> None:
    schema = api_as("viewer").get("/api/v1/schema/").json()
    told = schema["paths"]["/api/v1/observations/"]["post"]["responses"]["422"]["content"]
    assert list(told) == ["application/problem+json"]
    members = set(schema["components"]["schemas"]["ProblemOutput"]["properties"])
    assert members >= {"type", "title", "status", "code", "detail"}


@pytest.mark.django_db
def test_the_docs_page_loads_only_files_of_its_own_and_has_nothing_inline(
    api_as: Callable[[str], APIClient],
) -> None:
    page = api_as("viewer").get("/api/v1/docs/", HTTP_ACCEPT="text/html").content.decode()
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) >= 4
    assert all(address.startswith("/") and not address.startswith("//") for address in addresses)
    assert "<style" not in page
    assert re.search(r"<script(?![^>]*src=)", page) is None
