"""Giving and withdrawing verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from astrid_site.core import audit
from astrid_site.core.errors import ApplicationError
from astrid_site.core.events import publish
from astrid_site.core.provenance import code_version
from catalog.models import AstroObject, ObjectDetection
from catalog.selectors import object_of
from catalog.services import set_decision
from curation.models import Verdict
from curation.selectors import current_verdicts
from detection.models import Detection

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

_STATE_OF_LABEL = {
    Verdict.Label.REAL: AstroObject.State.CONFIRMED,
    Verdict.Label.BOGUS: AstroObject.State.REJECTED,
}
#: Real changes of the sky that are no transients: they are named, but not confirmed as such.
_CLASSES = frozenset({Verdict.Label.VARIABLE, Verdict.Label.MOVING})


def give_verdict(
    detection: Detection,
    curator: User,
    *,
    label: str,
    reason: str = "",
    comment: str = "",
    seconds: float | None = None,
    round: int = 1,
) -> Verdict:
    """Record what a curator says of a detection; saying the same again changes nothing.

    Raises
    ------
    ApplicationError
        If the label or reason is none of ours, or a reason is given without "bogus".
    """
    _check(label, reason)
    with transaction.atomic():
        last = _lock_last(detection, curator, round)
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
        )
        _after(verdict, before=last)
    return verdict


def withdraw_verdict(detection: Detection, curator: User, *, round: int = 1) -> Verdict:
    """Take the curator's answer back; it stays on record and no longer counts.

    Raises
    ------
    ApplicationError
        If there is no answer to take back.
    """
    with transaction.atomic():
        last = _lock_last(detection, curator, round)
        if last is None or last.label == Verdict.Label.WITHDRAWN:
            msg = "you have given no verdict on this candidate, so there is none to withdraw"
            raise ApplicationError(msg)
        verdict = _append(
            detection,
            curator,
            round=round,
            sequence=last.sequence + 1,
            label=Verdict.Label.WITHDRAWN,
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
) -> Verdict:
    return Verdict.objects.create(
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
