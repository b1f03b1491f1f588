"""What the page of many shows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID, uuid4

from astrid_site.accounts.models import User
from curation import selectors, services
from curation.algorithms.agreement import Share
from detection import pages as detection_pages
from detection.models import Detection
from observations.models import Survey

#: Candidates on one page: five rows of eight on a desk.
N_AT_ONCE = 40
#: What has this real-bogus score or more is looked at by itself.
MOST_PROMISING = 0.5


@dataclass(frozen=True)
class Tile:
    """One candidate of many."""

    detection: Detection
    cutouts: detection_pages.CutoutView


@dataclass(frozen=True)
class ManyPage:
    """The whole page; ``batch`` is the key under which its decision is stored once."""

    tiles: list[Tile]
    batch: UUID
    slip_rate: Share
    n_pulled_out: int


def many_page(curator: User, *, survey: Survey | None, pulled_out: Collection[UUID]) -> ManyPage:
    """The least promising candidates, which are this person's from now on."""
    chosen = services.take_candidates(
        curator,
        limit=N_AT_ONCE,
        held=pulled_out,
        survey=survey,
        order=selectors.WORST_FIRST,
        below=MOST_PROMISING,
    )
    return ManyPage(
        tiles=[Tile(row, detection_pages.view_cutouts(row)) for row in chosen],
        batch=uuid4(),
        slip_rate=slip_rate(curator),
        n_pulled_out=len(pulled_out),
    )


def slip_rate(curator: User) -> Share:
    """Of what a person called bogus among many and saw again, the share they then did not."""
    n_checked, n_slipped = selectors.slips(curator)
    return Share.of(n_slipped, n_checked)
