"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from django.db.backends.base.operations import BaseDatabaseOperations

from astrid_site.core import append_only
from tests import servers

DATABASE_FIXTURES = {"db", "transactional_db", "live_server", "admin_client"}


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker that the second run, on PostgreSQL, selects by."""
    config.addinivalue_line("markers", "database: touches the database (set by itself)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that touches the database."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("django_db") or fixtures & DATABASE_FIXTURES:
            item.add_marker(pytest.mark.database)


@pytest.fixture(autouse=True, scope="session")
def emptying_between_tests_is_deliberate() -> Iterator[None]:
    """Tables are emptied after a test with transactions; append-only ones take a permit for it."""
    flush = BaseDatabaseOperations.execute_sql_flush

    def permitted(self: BaseDatabaseOperations, sql_list: Sequence[str]) -> None:
        with append_only.permit():
            flush(self, sql_list)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseOperations, "execute_sql_flush", permitted)
        yield


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real images (setting ``ASTRID_TEST_DATA``); absent only outside CI."""
    folder = os.environ.get("ASTRID_TEST_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = "ASTRID_TEST_DATA names no folder of real images"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.Redis]:
    """A real Redis without persistence."""
    with servers.redis() as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A real S3 server that keeps its objects in memory."""
    with servers.object_store() as endpoint:
        yield endpoint
