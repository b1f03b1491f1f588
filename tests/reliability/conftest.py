"""Installations for the storms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reliability.installation import Installation

Installer = Callable[..., Installation]
LONGEST = "test_frame_storm.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: at the end it would keep one process busy while the others wait."""
    items.sort(key=lambda item: item.path.name != LONGEST)


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Installer]:
    """Make an installation with light jobs, short leases and a database that is ready."""
    made: list[Installation] = []

    def make(**environment: str) -> Installation:
        installation = Installation(
            tmp_path,
            {
                "ASTRID_BROKER_URL": "filesystem://",
                "ASTRID_JOB_HANDLERS": "tests.reliability.storm_jobs.HANDLERS",
                "ASTRID_JOB_LOST_HANDLER": "tests.reliability.storm_jobs.lost",
                "ASTRID_JOB_LEASE_S": "2",
                "ASTRID_JOB_BACKOFF_S": "0.1",
                "ASTRID_JOB_RING_AGAIN_S": "2",
                "ASTRID_JOB_MAX_CRASHES": "30",
                "OMP_NUM_THREADS": "1",
                "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
                **environment,
            },
        )
        made.append(installation)
        installation.command("manage.py", "migrate", "--verbosity", "0")
        return installation

    yield make
    for installation in made:
        installation.stop()
