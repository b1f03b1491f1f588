"""What is known of one place on one frame, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from detection.algorithms.place_reading import PlaceReading


class Ending(StrEnum):
    """Where the way of a place ended, in the order of the way."""

    UNPLACED = "unplaced"
    NOT_COVERED = "not_covered"
    NOT_SEARCHED = "not_searched"
    MASKED = "masked"
    BELOW_THRESHOLD = "below_threshold"
    BLENDED = "blended"
    CUT = "cut"
    LOW_SCORE = "low_score"
    HUMAN = "human"
    FOUND = "found"


@dataclass(frozen=True)
class Stop:
    """The stage of a frame that did not succeed: what it was to do, how it ended and why."""

    title: str
    status: str
    reason: str


@dataclass(frozen=True)
class Saying:
    """What people say of a candidate: the label that counts, the reason given with it, and who."""

    label: str
    reason: str = ""
    who: str = ""


@dataclass(frozen=True)
class Candidate:
    """The stored candidate at the place.

    Attributes
    ----------
    score : float
        Signed significance [sigma].
    distance_pix : float
        From the place [pix].
    cuts : sequence of mapping
        name, value, limit, margin, kept of each cut.
    real_bogus, real_bogus_error : float or None
        Of the champion.
    scorer : str
        Its name, or why there is no score.
    rank, n_kept : int
        Place among the kept candidates of the frame, by the score of the champion.
    object_name : str
        Of the object that it belongs to; empty where it belongs to none.
    saying : Saying or None
        None where nobody decided.
    """

    score: float
    distance_pix: float
    cuts: Sequence[Mapping[str, Any]]
    real_bogus: float | None = None
    real_bogus_error: float | None = None
    scorer: str = ""
    rank: int = 1
    n_kept: int = 1
    object_name: str = ""
    saying: Saying | None = None

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        """Cuts that it failed, the worst first."""
        return sorted((c for c in self.cuts if not c["kept"]), key=lambda c: c["margin"])


@dataclass(frozen=True)
class Neighbour:
    """The stored candidate nearest to a place that has none of its own."""

    score: float
    distance_pix: float


@dataclass(frozen=True)
class FrameFacts:
    """All that is known of one place on one frame.

    Attributes
    ----------
    beyond_pix : float or None
        How far outside the frame the place lies [pix], 0 inside; None without world coordinates.
    scale_arcsec : float or None
        Side of a pixel [arcsec].
    stop : Stop or None
        The stage that kept the frame from being searched.
    reading : PlaceReading or None
        None where there is no difference.
    threshold : float
        Of the search [sigma].
    candidate : Candidate or None
        The stored one at the place, kept or not.
    neighbour : Neighbour or None
        The nearest one, where there is none at the place.
    n_unstored : int
        Rejected candidates of the frame of which no record was kept.
    """

    beyond_pix: float | None
    scale_arcsec: float | None = None
    stop: Stop | None = None
    reading: PlaceReading | None = None
    threshold: float = 5.0
    candidate: Candidate | None = None
    neighbour: Neighbour | None = None
    n_unstored: int = 0


@dataclass(frozen=True)
class Step:
    """One stage of the way; ``state`` is passed, stopped, or not reached."""

    name: str
    title: str
    state: str
    words: str


@dataclass(frozen=True)
class Explanation:
    """How the way of one place on one frame ended.

    Attributes
    ----------
    ending : Ending
        Where.
    sentence : str
        The same for people, with its numbers.
    change : str
        The smallest change that would have carried it further; empty where none is needed.
    cut : str
        Name of the worst cut that it failed; empty where none.
    steps : tuple of Step
        Every stage in order.
    """

    ending: Ending
    sentence: str
    change: str
    cut: str
    steps: tuple[Step, ...]
