"""Who has which object to decide: taking, holding and giving back."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from curation.models import Assignment
from curation.selectors import BEST_FIRST, Order, next_candidates, pending_checks, units_of
from detection.models import Detection
from observations.models import Survey

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

#: A candidate that was given to somebody stays assigned for so long; an open page renews it.
HELD_FOR = timedelta(minutes=15)
#: One of so many in the queue may be one that came back to be checked.
NEW_FOR_A_CHECK = 4
_QUEUE_LOCK = 0x41737472_5155  # any fixed number: "AstrQU" in ASCII


def take_candidates(
    curator: User,
    *,
    limit: int,
    held: Collection[UUID] = (),
    survey: Survey | None = None,
    order: Order = BEST_FIRST,
    below: float | None = None,
) -> list[Detection]:
    """Assign the next candidates to a curator; those already held are renewed.

    Never are there more people at an object than are wanted, however many ask at once.
    """
    with transaction.atomic():
        _one_at_a_time()
        _renew(curator, held)
        chosen = next_candidates(
            curator, limit=limit, exclude=held, survey=survey, order=order, below=below
        )
        assign(curator, sorted(set(units_of([row.pk for row in chosen]).values())))
    return chosen


def take_with_checks(
    curator: User,
    *,
    limit: int,
    held: Collection[UUID] = (),
    survey: Survey | None = None,
    order: Order = BEST_FIRST,
) -> list[Detection]:
    """As ``take_candidates``; what is to be checked again comes among the others, unannounced."""
    checks = list(pending_checks(curator, exclude=held, survey=survey)[:limit])
    chosen = take_candidates(curator, limit=limit, held=held, survey=survey, order=order)
    # among four one that came back, and more only where nothing else waits
    room = max(limit - len(chosen), limit // NEW_FOR_A_CHECK)
    for place, check in enumerate(checks[:room], start=1):
        chosen.insert(place * NEW_FOR_A_CHECK - 1, check)
    return chosen[:limit]


def _one_at_a_time() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_QUEUE_LOCK])
    # SQLite needs no lock of ours: the IMMEDIATE transaction is the only writer.


def assign(curator: User, units: list[UUID], *, is_decided: bool = False) -> None:
    """Give a curator objects for a while, or for good once they are decided."""
    now = timezone.now()
    until = None if is_decided else now + HELD_FOR
    Assignment.objects.bulk_create(
        [Assignment(unit=unit, curator=curator, until=until, seen_at=now) for unit in units],
        update_conflicts=True,
        unique_fields=["unit", "curator"],
        update_fields=["until", "seen_at"],
    )


def _renew(curator: User, detection_ids: Collection[UUID]) -> None:
    held = Assignment.objects.filter(unit__in=units_of(detection_ids).values(), curator=curator)
    held.filter(until__isnull=False).update(until=timezone.now() + HELD_FOR)


def keep_assignments(
    curator: User, detection_ids: Collection[UUID], *, showing: UUID | None = None
) -> datetime:
    """Renew what a curator holds and tell which one is on the screen; returns when that was."""
    units = units_of({*detection_ids, *([showing] if showing else [])})
    now = timezone.now()
    mine = Assignment.objects.filter(curator=curator)
    mine.filter(until__lt=now - HELD_FOR).delete()
    held = mine.filter(unit__in=units.values(), until__isnull=False)
    held.update(until=now + HELD_FOR, seen_at=now)
    if showing and Detection.objects.filter(pk=showing).exists():
        mine.filter(is_open=True).exclude(unit=units[showing]).update(is_open=False)
        # opened by its address, or shown for longer than it was held: looked at all the same
        Assignment.objects.get_or_create(
            unit=units[showing],
            curator=curator,
            defaults={"until": now + HELD_FOR, "seen_at": now},
        )
        mine.filter(unit=units[showing]).update(is_open=True, seen_at=now)
    return now


def give_back(curator: User, *, at: datetime) -> None:
    """Free what a page held, undecided, when it was last heard of; it was left.

    The page that follows it may have asked before this one's farewell arrives: what it was given
    since stays with it.
    """
    mine = Assignment.objects.filter(curator=curator, seen_at__lte=at)
    mine.filter(until__isnull=False).delete()
    mine.filter(is_open=True).update(is_open=False)
