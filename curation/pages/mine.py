"""What one person is told of their own work."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.utils import timezone

from astrid_site.accounts.models import User
from curation import selectors
from curation.algorithms.agreement import Share, cohen_kappa, slope_per_hundred
from curation.models import Verdict
from curation.pages.mosaic import slip_rate
from curation.pages.vetting import SITTING

#: The last of these are looked at.
MAX_VERDICTS = 5000
_DECIDING = (Verdict.Label.REAL, Verdict.Label.BOGUS)
#: From here on a decision of a sitting takes noticeably longer, or shorter, than at its beginning.
TIRED = 0.25


@dataclass(frozen=True)
class Colleague:
    """How far one agrees with somebody else on what both decided."""

    name: str
    n_common: int
    n_same: int
    kappa: float | None


@dataclass(frozen=True)
class MyPage:
    """The whole page.

    ``shown`` and ``hidden`` are the shares of answers that agree with the model where its score
    was seen before, and where it was not: the difference is how far it leads.
    """

    n_verdicts: int
    answers: list[tuple[str, str, int]]
    reasons: list[tuple[str, int]]
    median_seconds: float | None
    change_per_hundred: float | None
    slips: Share
    with_others: Share
    shown: Share
    hidden: Share
    colleagues: list[Colleague]

    @property
    def is_tired(self) -> bool:
        """Whether this sitting's decisions become noticeably slower or faster."""
        return self.change_per_hundred is not None and abs(self.change_per_hundred) > TIRED


def my_page(curator: User) -> MyPage:
    """Gather the page from the answers that count."""
    rows = list(selectors.current_verdicts(curator=curator).order_by("-created_at")[:MAX_VERDICTS])
    labels = Counter(row.label for row in rows)
    reasons = Counter(row.get_reason_display() for row in rows if row.reason)
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return MyPage(
        n_verdicts=len(rows),
        answers=[(c.value, str(c.label), labels[c]) for c in Verdict.Label if labels[c]],
        reasons=reasons.most_common(),
        median_seconds=statistics.median(seconds) if seconds else None,
        change_per_hundred=slope_per_hundred(_of_this_sitting(rows)),
        slips=slip_rate(curator),
        with_others=_with_consensus(curator),
        shown=_with_model([row for row in rows if row.score_hidden is False]),
        hidden=_with_model([row for row in rows if row.score_hidden]),
        colleagues=_colleagues(curator),
    )


def _of_this_sitting(rows: Sequence[Verdict]) -> list[float]:
    """Seconds of the decisions since this sitting began, in the order they were taken."""
    began = timezone.now() - SITTING
    return [r.seconds for r in reversed(rows) if r.created_at >= began and r.seconds is not None]


def _with_model(rows: Sequence[Verdict]) -> Share:
    """Share of real and bogus that are what the model's score says."""
    judged = [
        row for row in rows if row.label in _DECIDING and row.detection.real_bogus is not None
    ]
    same = sum(
        (row.label == Verdict.Label.REAL) == ((row.detection.real_bogus or 0.0) >= 0.5)
        for row in judged
    )
    return Share.of(same, len(judged))


def _with_consensus(curator: User) -> Share:
    """Share of answers that are what all come to, where others answered as well."""
    mine = selectors.latest_answers(curator)
    found = selectors.consensus_labels(mine)
    return Share.of(sum(mine[unit] == label for unit, label in found.items()), len(found))


def _colleagues(curator: User) -> list[Colleague]:
    mine = selectors.latest_answers(curator)
    pairs: dict[str, dict[UUID, str]] = defaultdict(dict)
    for unit, verdict in selectors.answers_about(list(mine)):
        if verdict.curator_id != curator.pk and verdict.label != Verdict.Label.UNSURE:
            pairs[verdict.curator.username][unit] = verdict.label
    told = []
    for name, answers in pairs.items():
        own = [mine[unit] for unit in answers]
        theirs = list(answers.values())
        n_same = sum(one == other for one, other in zip(own, theirs, strict=True))
        told.append(Colleague(name, len(theirs), n_same, cohen_kappa(own, theirs)))
    return sorted(told, key=lambda row: (-row.n_common, row.name))
