"""What the vetting page shows."""

from __future__ import annotations

import statistics
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from astrid_site.accounts.models import User
from catalog import pages as catalog_pages
from catalog.models import AstroObject
from catalog.selectors import object_of
from curation import selectors
from curation.models import Verdict
from detection import pages as detection_pages
from detection.models import Detection
from observations.models import Survey

#: Decisions counted as one sitting.
SITTING = timedelta(hours=12)


@dataclass(frozen=True)
class Card:
    """One candidate with everything needed to decide it."""

    detection: Detection
    cutouts: detection_pages.CutoutView
    why: list[detection_pages.CutRow]
    warnings: list[str]
    astro_object: AstroObject | None
    charts: catalog_pages.ChartPair | None
    total_charts: catalog_pages.ChartPair | None
    n_points: int
    verdict: Verdict | None

    @property
    def title(self) -> str:
        """The object's name, or where on the frame the candidate is."""
        if self.astro_object is not None:
            return self.astro_object.name
        place = f"Candidate at x {self.detection.x:.0f}, y {self.detection.y:.0f}"
        return place if self.detection.ra is not None else f"{place} (no sky position)"


@dataclass(frozen=True)
class Answer:
    """One button of the page."""

    key: str
    value: str
    label: str
    short: str


@dataclass(frozen=True)
class Tally:
    """How the sitting goes."""

    n_decided: int
    n_waiting: int
    median_seconds: float | None


_SHORT = {
    Verdict.Label.REAL: "Real",
    Verdict.Label.BOGUS: "Bogus",
    Verdict.Label.UNSURE: "Unsure",
    Verdict.Label.VARIABLE: "Variable",
    Verdict.Label.MOVING: "Planet",
}
_LONG = {
    Verdict.Label.VARIABLE: "Variable or AGN",
    Verdict.Label.MOVING: "Minor planet",
}
ANSWERS = [
    Answer(str(i), label.value, _LONG.get(label, short), short)
    for i, (label, short) in enumerate(_SHORT.items(), start=1)
]
REASONS = [
    Answer(str(i), value, name.capitalize(), name)
    for i, (value, name) in enumerate([c for c in Verdict.Reason.choices if c[0]], start=1)
]


def find_detection(detection_id: UUID) -> Detection | None:
    """One candidate with what a card needs loaded, or None."""
    rows = Detection.objects.select_related("observation__survey", "run__difference_run")
    return rows.filter(pk=detection_id).first()


def next_cards(
    curator: User, *, limit: int, exclude: Collection[UUID] = (), survey: Survey | None = None
) -> list[Card]:
    """Cards of the next candidates for this person."""
    chosen = selectors.next_candidates(curator, limit=limit, exclude=exclude, survey=survey)
    return [make_card(detection, curator) for detection in chosen]


def make_card(detection: Detection, curator: User) -> Card:
    """Gather one card."""
    astro_object = object_of(detection.pk)
    curve = catalog_pages.light_curve(astro_object, current=detection.observation_id, height=210)
    return Card(
        detection=detection,
        cutouts=detection_pages.view_cutouts(detection),
        why=detection_pages.why_rows(detection),
        warnings=detection_pages.warnings(detection),
        astro_object=astro_object,
        charts=curve.telling,
        total_charts=curve.total,
        n_points=curve.n_points,
        verdict=selectors.current_verdict(detection, curator),
    )


def last_decided(curator: User) -> Verdict | None:
    """My latest decision that still stands: what undo takes back."""
    return selectors.current_verdicts(curator=curator).order_by("-created_at").first()


def tally(curator: User, *, survey: Survey | None = None) -> Tally:
    """Decisions of this sitting, the usual time for one, and how many objects still wait."""
    standing = selectors.current_verdicts(curator=curator)
    recent = standing.filter(created_at__gte=timezone.now() - SITTING)
    seconds = [s for s in recent.values_list("seconds", flat=True) if s is not None]
    return Tally(
        n_decided=recent.count(),
        n_waiting=selectors.open_count(curator, survey=survey),
        median_seconds=statistics.median(seconds) if seconds else None,
    )
