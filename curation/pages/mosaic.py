"""What the page of many shows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID, uuid4

from astropy.stats import binom_conf_interval

from astrid_site.accounts.models import User
from curation import selectors, services
from detection import pages as detection_pages
from detection.models import Detection
from observations.models import Survey

#: Candidates on one page: five rows of eight on a desk.
N_AT_ONCE = 40
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Tile:
    """One candidate of many."""

    detection: Detection
    cutouts: detection_pages.CutoutView


@dataclass(frozen=True)
class SlipRate:
    """How often what a person called bogus among many turned out not to be, by themselves."""

    n_checked: int
    n_slipped: int
    low: float | None
    high: float | None

    @property
    def rate(self) -> float | None:
        """Share that slipped through; None before anything came back."""
        return self.n_slipped / self.n_checked if self.n_checked else None


@dataclass(frozen=True)
class ManyPage:
    """The whole page; ``batch`` is the key under which its decision is stored once."""

    tiles: list[Tile]
    batch: UUID
    slip_rate: SlipRate
    n_pulled_out: int


def many_page(curator: User, *, survey: Survey | None, pulled_out: Collection[UUID]) -> ManyPage:
    """The least promising candidates, which are this person's from now on."""
    chosen = services.take_candidates(
        curator,
        limit=N_AT_ONCE,
        held=pulled_out,
        survey=survey,
        order=selectors.WORST_FIRST,
    )
    return ManyPage(
        tiles=[Tile(row, detection_pages.view_cutouts(row)) for row in chosen],
        batch=uuid4(),
        slip_rate=slip_rate(curator),
        n_pulled_out=len(pulled_out),
    )


def slip_rate(curator: User) -> SlipRate:
    """Of one person, with the 95 % interval of Wilson (1927, JASA 22, 209)."""
    n, slipped = selectors.slips(curator)
    if not n:
        return SlipRate(0, 0, None, None)
    low, high = binom_conf_interval(slipped, n, _CONFIDENCE, interval="wilson")
    return SlipRate(n, slipped, float(low), float(high))
