"""Giving and withdrawing verdicts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from astrid_site.core import audit
from astrid_site.core.errors import ApplicationError
from astrid_site.core.events import publish
from astrid_site.core.provenance import code_version
from catalog.models import AstroObject, ObjectDetection
from catalog.selectors import object_of
from catalog.services import set_decision
from curation.models import Assignment, Verdict
from curation.selectors import current_verdicts, next_candidates, units_of
from detection.models import Detection
from observations.models import Survey

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

_STATE_OF_LABEL = {
    Verdict.Label.REAL: AstroObject.State.CONFIRMED,
    Verdict.Label.BOGUS: AstroObject.State.REJECTED,
}
#: Real changes of the sky that are no transients: they are named, but not confirmed as such.
_CLASSES = frozenset({Verdict.Label.VARIABLE, Verdict.Label.MOVING})
#: A candidate that was given to somebody stays assigned for so long; an open page renews it.
HELD_FOR = timedelta(minutes=15)
_QUEUE_LOCK = 0x41737472_5155  # any fixed number: "AstrQU" in ASCII


def take_candidates(
    curator: User, *, limit: int, held: Collection[UUID] = (), survey: Survey | None = None
) -> list[Detection]:
    """Assign the next candidates to a curator; those already held are renewed.

    Never are there more people at an object than are wanted, however many ask at once.
    """
    with transaction.atomic():
        _one_at_a_time()
        _renew(curator, held)
        chosen = next_candidates(curator, limit=limit, exclude=held, survey=survey)
        _assign(curator, sorted(set(units_of([row.pk for row in chosen]).values())))
    return chosen


def _one_at_a_time() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_QUEUE_LOCK])
    # SQLite needs no lock of ours: the IMMEDIATE transaction is the only writer.


def _assign(curator: User, units: list[UUID], *, is_decided: bool = False) -> None:
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


def give_verdict(
    detection: Detection,
    curator: User,
    *,
    label: str,
    reason: str = "",
    comment: str = "",
    seconds: float | None = None,
    round: int = 1,
    decision: UUID | None = None,
) -> Verdict:
    """Record what a curator says of a detection; saying the same again changes nothing.

    A ``decision`` that was stored before is not stored again, whatever was said since.

    Raises
    ------
    ApplicationError
        If the label or reason is none of ours, or a reason is given without "bogus".
    """
    _check(label, reason)
    with transaction.atomic():
        last = _lock_last(detection, curator, round)
        if (before := stored_decision(curator, decision)) is not None:
            return before
        is_same = last is not None and (last.label, last.reason, last.comment) == (
            label,
            reason,
            comment,
        )
        if last is not None and is_same:
            return last
        verdict = _append(
            detection,
            curator,
            round=round,
            sequence=last.sequence + 1 if last else 1,
            label=label,
            reason=reason,
            comment=comment,
            seconds=seconds,
            decision=decision,
        )
        _after(verdict, before=last)
    return verdict


def withdraw_verdict(
    detection: Detection, curator: User, *, round: int = 1, decision: UUID | None = None
) -> Verdict:
    """Take the curator's answer back; it stays on record and no longer counts.

    Raises
    ------
    ApplicationError
        If there is no answer to take back.
    """
    with transaction.atomic():
        last = _lock_last(detection, curator, round)
        if (before := stored_decision(curator, decision)) is not None:
            return before
        if last is None or last.label == Verdict.Label.WITHDRAWN:
            msg = "you have given no verdict on this candidate, so there is none to withdraw"
            raise ApplicationError(msg)
        verdict = _append(
            detection,
            curator,
            round=round,
            sequence=last.sequence + 1,
            label=Verdict.Label.WITHDRAWN,
            decision=decision,
        )
        _after(verdict, before=last)
    return verdict


def _check(label: str, reason: str) -> None:
    allowed = set(Verdict.Label.values) - {Verdict.Label.WITHDRAWN.value}
    if label not in allowed:
        msg = f"label: must be one of {', '.join(sorted(allowed))}, got {label!r}"
        raise ApplicationError(msg)
    if reason not in Verdict.Reason.values:
        msg = f"reason: must be one of {', '.join(filter(None, Verdict.Reason.values))}"
        raise ApplicationError(msg)
    if reason and label != Verdict.Label.BOGUS:
        msg = "reason: only a bogus candidate has one"
        raise ApplicationError(msg)


def _lock_last(detection: Detection, curator: User, round: int) -> Verdict | None:
    """The curator's last answer; the detection's row is the lock of its verdicts."""
    Detection.objects.select_for_update(no_key=True).get(pk=detection.pk)
    rows = Verdict.objects.filter(detection=detection, curator=curator, round=round)
    return rows.order_by("-sequence").first()


def stored_decision(curator: User, decision: UUID | None) -> Verdict | None:
    """What was stored of a decision when it came before."""
    if decision is None:
        return None
    return Verdict.objects.filter(curator=curator, decision=decision).first()


def _append(
    detection: Detection,
    curator: User,
    *,
    round: int,
    sequence: int,
    label: str,
    reason: str = "",
    comment: str = "",
    seconds: float | None = None,
    decision: UUID | None = None,
) -> Verdict:
    return Verdict.objects.create(
        decision=decision,
        detection=detection,
        curator=curator,
        round=round,
        sequence=sequence,
        label=label,
        reason=reason,
        comment=comment,
        seconds=None if seconds is None else max(seconds, 0.0),
        score_shown=detection.real_bogus,
        scorer=detection.scorer,
        code_version=code_version(),
    )


def _after(verdict: Verdict, *, before: Verdict | None) -> None:
    """State of the object, audit trail and event, in the verdict's transaction."""
    owner = object_of(verdict.detection_id)
    if owner is not None:
        _decide(owner)
    unit = owner.pk if owner is not None else verdict.detection_id
    is_decided = verdict.label != Verdict.Label.WITHDRAWN
    _assign(verdict.curator, [unit], is_decided=is_decided)
    audit.record(
        verdict.curator,
        "verdict.withdraw" if verdict.label == Verdict.Label.WITHDRAWN else "verdict.give",
        verdict,
        before={"label": before.label} if before else None,
        after={"label": verdict.label, "detection": str(verdict.detection_id)},
    )
    publish(
        "verdict.given",
        subject_id=verdict.detection_id,
        payload={"label": verdict.label, "object": str(owner.pk) if owner else None},
    )


def _decide(owner: AstroObject) -> None:
    """Derive an object's state from the latest current verdict that decides anything."""
    locked = AstroObject.objects.select_for_update(no_key=True).get(pk=owner.pk)
    members = ObjectDetection.objects.filter(astro_object=locked).values_list(
        "detection_id", flat=True
    )
    latest = (
        current_verdicts(members)
        .exclude(label=Verdict.Label.UNSURE)
        .order_by("-created_at", "-sequence")
        .first()
    )
    label = Verdict.Label(latest.label) if latest else None
    state = _STATE_OF_LABEL.get(label, AstroObject.State.CANDIDATE) if label else None
    set_decision(
        locked,
        state=state or AstroObject.State.CANDIDATE,
        classification=label.value if label in _CLASSES and label else "",
    )
