"""What people say together: where they disagree, and the rule by which that is told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from astrid_site.core.keyset import KeysetPage, keyset_page
from catalog.models import AstroObject
from curation import selectors
from curation.algorithms.consensus import Rule, Standing
from curation.models import Consensus, ConsensusRule, Verdict
from detection import pages as detection_pages
from detection.models import Detection

_WORDS = {
    Standing.OPEN: "too few answers",
    Standing.AGREED: "agreed",
    Standing.DISPUTED: "disputed",
    Standing.SETTLED: "settled by an expert",
}


@dataclass(frozen=True)
class Dispute:
    """One object about which people disagree."""

    consensus: Consensus
    astro_object: AstroObject | None
    detection: Detection
    cutouts: detection_pages.CutoutView
    answers: Sequence[Verdict]

    @property
    def title(self) -> str:
        """The object's name, or where on its frame the candidate is."""
        if self.astro_object is not None:
            return self.astro_object.name
        return f"Candidate at x {self.detection.x:.0f}, y {self.detection.y:.0f}"


@dataclass(frozen=True)
class Disputes:
    """Some of them, and the cursor of those after them."""

    rows: list[Dispute]
    after: str
    is_first: bool


@dataclass(frozen=True)
class TogetherPage:
    """The whole page."""

    standings: list[tuple[str, str, int]]
    n_retired: int
    disputes: Disputes
    rule: Rule
    newest: ConsensusRule | None


def together_page(*, cursor: str) -> TogetherPage:
    """Gather the page."""
    counts = selectors.standing_counts()
    return TogetherPage(
        standings=[(s.value, words, counts.get(s.value, 0)) for s, words in _WORDS.items()],
        n_retired=selectors.retired_count(),
        disputes=_disputes(cursor),
        rule=selectors.current_rule(),
        newest=selectors.newest_rule(),
    )


def _disputes(cursor: str) -> Disputes:
    found: KeysetPage[Consensus] = keyset_page(
        selectors.disputed(), field="changed_at", cursor=cursor, size=24
    )
    units = [row.unit for row in found.rows]
    owners = {row.pk: row for row in AstroObject.objects.filter(pk__in=units)}
    best = selectors.best_candidates(units)
    answers = _answers_about(units)
    rows = [
        Dispute(
            row,
            owners.get(row.unit),
            best[row.unit],
            detection_pages.view_cutouts(best[row.unit]),
            answers[row.unit],
        )
        for row in found.rows
        if row.unit in best
    ]
    return Disputes(rows=rows, after=found.after, is_first=found.is_first)


def _answers_about(units: Sequence[UUID]) -> dict[UUID, list[Verdict]]:
    of: dict[UUID, list[Verdict]] = defaultdict(list)
    for unit, verdict in selectors.answers_about(units):
        of[unit].append(verdict)
    return of
