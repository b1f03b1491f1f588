"""What somebody must do every second: sweep the ledger, publish events, say so."""

from __future__ import annotations

import logging
import socket

from astrid_site.core import events, heartbeats, jobs, storage

logger = logging.getLogger(__name__)

SWEEPER = "sweeper"


def publish() -> int:
    """Number the new events; the live pages are as quick as this is called often."""
    return events.assign_sequences()


def tidy() -> int:
    """Remove the work folders of dead processes of this machine; harmless at any time."""
    removed = storage.clear_scratch()
    if removed:
        logger.info("removed %d work folders of dead processes", removed)
    return removed


def upkeep() -> jobs.SweepReport:
    """One whole turn; harmless to run in several places at once."""
    publish()
    report = jobs.sweep()
    heartbeats.beat(SWEEPER, f"{SWEEPER}@{socket.gethostname()}")
    return report
