"""Looks after the job ledger: once, or for ever."""

from __future__ import annotations

import logging
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, connections

from astrid_site.core import upkeep

logger = logging.getLogger(__name__)

PUBLISH_EVERY_S = 0.3
SWEEP_EVERY_S = 1.0
TIDY_EVERY_S = 30.0


class Command(BaseCommand):
    """Returns jobs of dead workers, rings for waiting ones and numbers new events."""

    help = "Return jobs of dead workers to the queue, ring for waiting ones, publish events."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the one switch."""
        parser.add_argument("--forever", action="store_true", help="go on until stopped")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sweep."""
        if not options["forever"]:
            report = upkeep.upkeep()
            self.stdout.write(
                f"{report.requeued} returned, {report.failed} failed, {report.rung} rung,"
                f" {upkeep.tidy()} folders removed"
            )
            return
        swept_at = tidied_at = -TIDY_EVERY_S
        while True:
            now = time.monotonic()
            is_due = now - swept_at >= SWEEP_EVERY_S
            try:
                if is_due:
                    swept_at = now
                    upkeep.upkeep()
                elif now - tidied_at >= TIDY_EVERY_S:
                    tidied_at = now
                    upkeep.tidy()
                else:
                    upkeep.publish()
            except DatabaseError as error:
                # The database may restart under us; the next turn connects anew.
                logger.warning("cannot sweep now: %s", error)
                connections.close_all()
                time.sleep(SWEEP_EVERY_S)
            time.sleep(PUBLISH_EVERY_S)
