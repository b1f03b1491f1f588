"""What somebody must do every second: sweep the ledger, publish events, say so."""

from __future__ import annotations

import logging
import socket
import time

from django.conf import settings
from django.utils.module_loading import import_string

from astrid_site.core import events, heartbeats, jobs, storage

logger = logging.getLogger(__name__)

SWEEPER = "sweeper"
#: What recurs is looked at this often; most of it is due far more rarely.
STANDING_EVERY_S = 30.0
_standing_at = 0.0


def publish() -> int:
    """Number the new events; the live pages are as quick as this is called often."""
    return events.assign_sequences()


def tidy() -> int:
    """Remove the work folders of dead processes of this machine; harmless at any time."""
    removed = storage.clear_scratch()
    if removed:
        logger.info("removed %d work folders of dead processes", removed)
    return removed


def begin_standing() -> None:
    """Let the application queue what recurs, if this process has not done so just now."""
    global _standing_at
    if time.monotonic() >= _standing_at:
        _standing_at = time.monotonic() + STANDING_EVERY_S
        import_string(settings.STANDING_JOBS)()


def upkeep() -> jobs.SweepReport:
    """One whole turn; harmless to run in several places at once."""
    publish()
    begin_standing()
    report = jobs.sweep()
    heartbeats.beat(SWEEPER, f"{SWEEPER}@{socket.gethostname()}")
    return report
