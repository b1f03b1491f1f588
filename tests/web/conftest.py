"""What the tests of pages need: people, a small sky, and a real server with a real browser."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from django.test import Client

from astrid_site.accounts.models import User
from tests.servers import free_port, is_open, wait_until
from tests.web import factories

ROLES = ("viewer", "curator", "researcher", "admin")


@pytest.fixture
def sky(db: None) -> factories.World:
    """One frame that went all the way, with two candidates that became two objects."""
    world = factories.World(factories.make_survey())
    factories.make_epoch(world, 0, sources=[(60.3, 70.2, 5000.0), (110.4, 40.9, 2500.0)])
    return world


@pytest.fixture
def client_of(db: None) -> Callable[[str], Client]:
    """A client that is logged in with a role; "anonymous" is not logged in."""

    def make(role: str) -> Client:
        client = Client()
        if role != "anonymous":
            found = User.objects.filter(username=role).first()
            client.force_login(found or factories.make_user(role, role))
        return client

    return make


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's Chromium where there is one; asked for just before Playwright starts."""
    # Playwright's event loop stays in this thread until the session ends, and Django would take
    # every query after that for one from inside a coroutine.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    found = shutil.which("chromium")
    told = {"executable_path": found} if found else {}
    return browser_type_launch_args | told | {"args": ["--no-sandbox"]}


@pytest.fixture
def site(transactional_db: None) -> Iterator[str]:
    """Address of the product, served by uvicorn as in real life on the test database."""
    from astrid_site.asgi import application

    port = free_port()
    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: is_open(port), within_s=20, what="the server listens")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)
    assert not thread.is_alive()
