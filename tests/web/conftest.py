"""What the tests of pages need: people, a small sky, and a real server with a real browser."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, sync_playwright

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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless browser, the system's Chromium where there is one.

    It ends with the module, not with the session: while Playwright's event loop runs in this
    thread, no other test can run one, and Django takes every query for one inside a coroutine.
    """
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        with playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        ) as browser:
            yield browser
            # beside a running loop Django keeps a second set of connections for this thread
            connections.close_all()


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
