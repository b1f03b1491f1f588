"""Requests nobody would think of: none may crash the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from astrid_site.accounts import services
from astrid_site.accounts.models import User
from astrid_site.core import tasking
from tests.web.factories import World

#: For each operation and role; the whole test stays under a minute.
EXAMPLES = 10

RULES = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def one_connection() -> Iterator[None]:
    """Requests keep to the connection, and so to the transaction, of the test."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.mark.django_db
@pytest.mark.usefixtures("one_connection")
@pytest.mark.timeout(150)
@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_no_request_that_the_schema_allows_or_forbids_crashes_the_server(
    role: str, world: World, people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasking.app, "send_task", lambda *args, **kwargs: None)
    _, secret = services.create_api_key(people[role], name="fuzz", can_write=True)
    headers = {"Authorization": f"Key {secret}"}
    application = closing(get_wsgi_application())
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema/", application, headers=headers)
    tried: dict[str, list[int]] = {}
    known = [*world.observations, *world.detections, *world.objects]

    def attack(operation: Any) -> None:
        name = f"{operation.method.upper()} {operation.path}"

        @seed(11)
        @RULES
        @given(data=st.data())
        def send(data: Any) -> None:
            mode = data.draw(st.sampled_from(list(schemathesis.GenerationMode)))
            case = data.draw(operation.as_strategy(generation_mode=mode))
            if case.path_parameters and "id" in case.path_parameters and data.draw(st.booleans()):
                case.path_parameters["id"] = str(data.draw(st.sampled_from(known)).pk)
            response = case.call(headers=headers)
            tried.setdefault(name, []).append(response.status_code)
            assert response.status_code < 500, f"{name}: {case.as_curl_command()}"
            refuse_nan(response)

        send()

    for found in schema.get_all_operations():
        attack(found.ok())
    assert len(tried) >= 25
    if role == "admin":
        # the requests went past the door: every endpoint did its work at least once
        worked = {name for name, statuses in tried.items() if min(statuses) < 300}
        assert len(worked) >= 12


def closing(application: Any) -> Any:
    """The same application with every answer closed, as a server does and the test client not."""

    def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = application(environ, start_response)
        try:
            return list(body)
        finally:
            body.close()

    return answer


def refuse_nan(response: Any) -> None:
    if response.headers.get("content-type", [""])[0].endswith("json"):
        assert b"NaN" not in response.content
        assert b"Infinity" not in response.content
