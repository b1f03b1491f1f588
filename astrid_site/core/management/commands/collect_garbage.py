"""Removes stored bytes nobody refers to, and old events."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from astrid_site.core import events, storage


class Command(BaseCommand):
    """Tidies the object store, the work folder and the event log."""

    help = "Remove stored bytes that no row refers to, and events older than a month."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the two ages."""
        parser.add_argument("--older-than-hours", type=float, default=24.0)
        parser.add_argument("--events-older-than-days", type=float, default=30.0)

    def handle(self, *args: Any, **options: Any) -> None:
        """Collect."""
        if options["older_than_hours"] < 0 or options["events_older_than_days"] < 0:
            msg = "an age cannot be negative"
            raise CommandError(msg)
        objects = storage.remove_unreferenced(timedelta(hours=options["older_than_hours"]))
        forgotten = events.forget(older_than=timedelta(days=options["events_older_than_days"]))
        self.stdout.write(f"{objects} objects and {forgotten} events removed")
