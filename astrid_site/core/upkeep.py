"""What somebody must do every second: sweep the ledger, publish events, say so."""

from __future__ import annotations

import socket

from astrid_site.core import events, heartbeats, jobs

SWEEPER = "sweeper"


def publish() -> int:
    """Number the new events; the live pages are as quick as this is called often."""
    return events.assign_sequences()


def upkeep() -> jobs.SweepReport:
    """One whole turn; harmless to run in several places at once."""
    publish()
    report = jobs.sweep()
    heartbeats.beat(SWEEPER, f"{SWEEPER}@{socket.gethostname()}")
    return report
