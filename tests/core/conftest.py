"""What the tests of the shared core need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from astrid_site.core import tasking
from tests.core import job_handlers


@pytest.fixture
def bell(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every (job, queue) rung for; the wire to the broker is the edge that is cut."""
    rung: list[tuple[str, str]] = []

    def send(name: str, *, args: list[str], queue: str, retry: bool) -> None:
        assert name == "astrid.run_job"
        assert retry is False
        rung.append((args[0], queue))

    monkeypatch.setattr(tasking.app, "send_task", send)
    monkeypatch.setattr(tasking, "_silent_until", 0.0)
    return rung


@pytest.fixture
def ledger_settings(settings: Any, bell: list[tuple[str, str]]) -> Iterator[Any]:
    """Light handlers, short back-off."""
    settings.JOB_HANDLERS = "tests.core.job_handlers.HANDLERS"
    settings.JOB_LOST_HANDLER = "tests.core.job_handlers.lost"
    settings.JOB_BACKOFF_S = 0.0
    job_handlers.forget()
    yield settings
    job_handlers.forget()
