"""The replayable event log that feeds every live page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now

from astrid_site.core.models import Event

PUBLISHED_AT_ONCE = 1000
_PUBLISHER_LOCK = 0x41737472_4944  # any fixed number: "AstrID" in ASCII


def publish(
    kind: str, *, subject_id: UUID | None = None, payload: Mapping[str, Any] | None = None
) -> None:
    """Write an event into the caller's transaction; readers see it after the commit."""
    Event.objects.create(kind=kind, subject_id=subject_id, payload=dict(payload or {}))


def assign_sequences() -> int:
    """Number the events whose transactions have ended; safe to run twice at once.

    Rows appear in the order of their commits, not of their ids. Numbers given here, by one
    publisher at a time, to rows that are already visible, leave a reader no row to miss.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_PUBLISHER_LOCK])
        # SQLite needs no lock of ours: the IMMEDIATE transaction is the only writer.
        waiting = list(Event.objects.filter(sequence=None).order_by("id")[:PUBLISHED_AT_ONCE])
        if not waiting:
            return 0
        for sequence, event in enumerate(waiting, start=latest_sequence() + 1):
            event.sequence = sequence
        Event.objects.bulk_update(waiting, ["sequence"], batch_size=200)
    return len(waiting)


def read_after(sequence: int, limit: int = 200) -> list[Event]:
    """Events numbered after ``sequence``, oldest first."""
    return list(Event.objects.filter(sequence__gt=sequence).order_by("sequence")[:limit])


def latest_sequence() -> int:
    """Number of the newest published event; 0 when there is none."""
    return int(Event.objects.aggregate(latest=Max("sequence"))["latest"] or 0)


def oldest_sequence() -> int:
    """Number of the oldest event still kept; a reader behind it must reload its page."""
    first = Event.objects.exclude(sequence=None).order_by("sequence").first()
    return int(first.sequence or 0) if first else 0


def forget(*, older_than: timedelta) -> int:
    """Delete old published events, but never the newest: its number must not be given again."""
    old = Event.objects.filter(sequence__lt=latest_sequence(), created_at__lt=Now() - older_than)
    return old.delete()[0]
