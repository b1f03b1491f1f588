"""Many candidates at once: all that are not pulled out are bogus, and a tenth comes back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from astrid_site.core import audit
from astrid_site.core.errors import ApplicationError
from curation.models import SpotCheck, Verdict
from curation.selectors import current_verdicts
from curation.services.checks import draw_checks
from curation.services.verdicts import give_verdict, withdraw_verdict
from detection.models import Detection

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

#: More than a page shows.
MAX_AT_ONCE = 60


def judge_many(
    curator: User, shown: Sequence[UUID], *, kept: Collection[UUID], batch: UUID
) -> list[Verdict]:
    """Call bogus what was shown and not pulled out; a random tenth is to be looked at again.

    The same ``batch`` sent twice is one.

    Raises
    ------
    ApplicationError
        If there are too many, or one of them does not exist.
    """
    if len(shown) > MAX_AT_ONCE:
        msg = f"at most {MAX_AT_ONCE} candidates at once, got {len(shown)}"
        raise ApplicationError(msg)
    rest = [key for key in shown if key not in set(kept)]
    detections = Detection.objects.in_bulk(rest)
    if len(detections) < len(set(rest)):
        msg = "one of the candidates does not exist; load the page again"
        raise ApplicationError(msg)
    with transaction.atomic():
        if before := list(Verdict.objects.filter(curator=curator, batch=batch)):
            return before
        verdicts = [
            give_verdict(detections[key], curator, label=Verdict.Label.BOGUS, batch=batch)
            for key in dict.fromkeys(rest)
        ]
        draw_checks(curator, [v.detection_id for v in verdicts], batch=batch)
        audit.record(
            curator, "verdict.many", curator, after={"batch": str(batch), "n": len(verdicts)}
        )
    return verdicts


def take_back_many(curator: User, *, batch: UUID) -> int:
    """Withdraw what still stands of the verdicts given at once; returns how many."""
    with transaction.atomic():
        standing = list(current_verdicts(curator=curator).filter(batch=batch))
        for verdict in standing:
            withdraw_verdict(verdict.detection, curator)
        SpotCheck.objects.filter(curator=curator, batch=batch, answered_at=None).delete()
    return len(standing)
