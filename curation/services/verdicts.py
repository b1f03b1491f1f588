"""Giving and withdrawing verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Required, TypedDict, Unpack
from uuid import UUID

from django.db import transaction

from astrid_site.core import audit
from astrid_site.core.errors import ApplicationError
from astrid_site.core.events import publish
from astrid_site.core.provenance import code_version
from catalog.selectors import object_of
from curation.models import Verdict
from curation.services.assignments import assign
from curation.services.checks import answer_check
from curation.services.consensus import follow_verdicts
from detection.models import Detection

if TYPE_CHECKING:
    from astrid_site.accounts.models import User


class Said(TypedDict, total=False):
    """What somebody says of a candidate, and how."""

    label: Required[str]
    reason: str
    comment: str
    seconds: float | None
    tier: str
    rating: int | None
    batch: UUID | None
    score_hidden: bool | None


def give_verdict(
    detection: Detection,
    curator: User,
    *,
    round: int = 1,
    decision: UUID | None = None,
    **said: Unpack[Said],
) -> Verdict:
    """Record what a curator says of a detection; saying the same again changes nothing.

    A ``decision`` that was stored before is not stored again, whatever was said since. The
    ``tier`` "expert" settles the matter; whether somebody may do so is the caller's to ask.

    Raises
    ------
    ApplicationError
        If the label, reason or rating is none of ours, or comes without what it belongs to.
    """
    _check(said["label"], said.get("reason", ""))
    _check_tier(said.get("tier", Verdict.Tier.VOTE), said.get("rating"))
    with transaction.atomic():
        last = _lock_last(detection, curator, round)
        if (before := stored_decision(curator, decision)) is not None:
            return before
        answer_check(detection, curator, label=said["label"])
        if last is not None and _is_same(last, said):
            return last
        verdict = _append(
            detection,
            curator,
            round=round,
            sequence=last.sequence + 1 if last else 1,
            decision=decision,
            said=said,
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
            decision=decision,
            said={"label": Verdict.Label.WITHDRAWN},
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


def _check_tier(tier: str, rating: int | None) -> None:
    if tier not in Verdict.Tier.values:
        msg = f"tier: must be one of {', '.join(Verdict.Tier.values)}, got {tier!r}"
        raise ApplicationError(msg)
    if rating is not None and (tier != Verdict.Tier.EXPERT or not 1 <= rating <= 5):
        msg = "rating: from 1 to 5, and only with an expert's word"
        raise ApplicationError(msg)


def _is_same(last: Verdict, said: Said) -> bool:
    """Whether the last answer says just this; the time taken does not count."""
    return (last.label, last.reason, last.comment, last.tier, last.rating) == (
        said["label"],
        said.get("reason", ""),
        said.get("comment", ""),
        said.get("tier", Verdict.Tier.VOTE),
        said.get("rating"),
    )


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
    decision: UUID | None,
    said: Said,
) -> Verdict:
    seconds = said.get("seconds")
    return Verdict.objects.create(
        **said | {"seconds": None if seconds is None else max(seconds, 0.0)},
        decision=decision,
        detection=detection,
        curator=curator,
        round=round,
        sequence=sequence,
        score_shown=None if said.get("score_hidden") else detection.real_bogus,
        scorer=detection.scorer,
        code_version=code_version(),
    )


def _after(verdict: Verdict, *, before: Verdict | None) -> None:
    """What it comes to, audit trail and event, in the verdict's transaction."""
    owner = object_of(verdict.detection_id)
    unit = owner.pk if owner is not None else verdict.detection_id
    follow_verdicts(unit)
    is_decided = verdict.label != Verdict.Label.WITHDRAWN
    assign(verdict.curator, [unit], is_decided=is_decided)
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
