"""What the vetting page shows."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone

from astrid_site.accounts.models import User
from astrid_site.imaging.display import MISSING_COLOUR, colormap_table
from astrid_site.imaging.masks import plane_colours
from astrid_site.imaging.pyramid import MISSING, SOFTENING
from catalog import pages as catalog_pages
from catalog.models import AstroObject
from catalog.selectors import object_of
from catalog.selectors.context import KindContext, context_of, context_words
from curation import selectors, services
from curation.models import Verdict
from detection import pages as detection_pages
from detection.models import Detection
from detection.selectors import pixel_digest, with_pixels
from detection.services.causes import glance
from observations.models import Survey

#: Decisions counted as one sitting.
SITTING = timedelta(hours=12)
#: What the vetting page draws of the numbers around a candidate.
PICTURES = {
    "science": "Science",
    "template": "Reference",
    "difference": "Difference",
    "ratio": "Difference / noise",
    "context": "Context",
}


@dataclass(frozen=True)
class PictureView:
    """The pictures that a browser draws of the numbers around one candidate."""

    panels: tuple[detection_pages.Panel, ...]
    words: str
    orientation: str
    frame: str
    state: dict[str, Any]

    @property
    def state_json(self) -> str:
        """What the script is told: where the numbers are, and how they lie on the sky."""
        return json.dumps(self.state)


class Blinding(StrEnum):
    """Whose scores a person sees before deciding."""

    SHOWN = "shown"
    HIDDEN = "hidden"
    HALF = "half"


@dataclass(frozen=True)
class Card:
    """One candidate with everything needed to decide it."""

    detection: Detection
    cutouts: detection_pages.CutoutView
    pictures: PictureView
    why: list[detection_pages.CutRow]
    warnings: list[str]
    astro_object: AstroObject | None
    charts: catalog_pages.ChartPair | None
    total_charts: catalog_pages.ChartPair | None
    n_points: int
    verdict: Verdict | None
    known: list[KindContext]
    may_be: str
    others: list[Verdict]
    is_blind: bool

    @property
    def known_words(self) -> str:
        """What lists held here know of its place, in one line."""
        return context_words(self.known)

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
class Reason:
    """Why a candidate is bogus, with its digit and its letter, both with Shift."""

    key: str
    letter: str
    value: str
    label: str
    short: str


@dataclass(frozen=True)
class Tool:
    """One button over the pictures; rare ones are shown where there is no keyboard."""

    name: str
    key: str
    label: str
    help: str
    is_switch: bool = True
    is_rare: bool = False


@dataclass(frozen=True)
class KeyRow:
    """One line of the card of keys."""

    keys: tuple[str, ...]
    does: str


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
_LETTERS = {
    Verdict.Reason.DIPOLE: "d",
    Verdict.Reason.WING: "w",
    Verdict.Reason.COSMIC_RAY: "c",
    Verdict.Reason.HOT_PIXEL: "h",
    Verdict.Reason.TRAIL: "t",
    Verdict.Reason.EDGE: "e",
    Verdict.Reason.BAD_REFERENCE: "r",
    Verdict.Reason.GHOST: "g",
}
REASONS = [
    Reason(str(i), letter, reason.value, reason.label.capitalize(), reason.label)
    for i, (reason, letter) in enumerate(_LETTERS.items(), start=1)
]
TOOLS = [
    Tool("blink", "b", "Blink", "The reference in place of the science image, in turn"),
    Tool("mask", "m", "Mask", "Masked pixels in colour"),
    Tool("score", "n", "Score", "The matched-filter score in place of difference over noise"),
    Tool("invert", "i", "Invert", "Dark on bright", is_rare=True),
    Tool("nearer", "+", "Nearer", "Larger pixels", is_switch=False, is_rare=True),
    Tool("reset", "r", "Reset", "Contrast and scale as at first", is_switch=False, is_rare=True),
]
OTHER_KEYS = [
    KeyRow(("u",), "Undo, as often as you like"),
    KeyRow(("b",), "Hold: the reference in place of the science image"),
    KeyRow(("s", "z", "p", "a", "l"), "Next stretch \u00b7 zscale, percentile, asinh, linear"),
    KeyRow(("[", "]"), "Less, more contrast (or drag over a picture)"),
    KeyRow(("i", "r"), "Invert \u00b7 contrast and scale as at first"),
    KeyRow(("+", "-"), "Nearer, farther (or the wheel)"),
    KeyRow(("m", "w"), "Mask \u00b7 window that the network sees"),
    KeyRow(("n",), "Score image in place of difference / noise"),
    KeyRow(("Tab", "\u2190 \u2191 \u2192 \u2193"), "Into the pictures, then from pixel to pixel"),
    KeyRow(("c",), "Write a comment (Esc leaves it)"),
    KeyRow(("f",), "For later: put it off until something has happened"),
]


def is_hidden(blinding: Blinding, detection_id: UUID, curator: User) -> bool:
    """Whether the model's score is kept from a person until they have decided.

    With half of them it hangs on both names alone: loading the page again tells nothing.
    """
    if blinding != Blinding.HALF:
        return blinding == Blinding.HIDDEN
    drawn = hashlib.sha256(f"{detection_id} {curator.pk}".encode()).digest()
    return drawn[0] % 2 == 1


def find_detection(detection_id: UUID) -> Detection | None:
    """One candidate with what a card needs loaded, or None."""
    rows = with_pixels(Detection.objects.select_related("observation__survey"))
    return rows.filter(pk=detection_id).first()


def next_cards(
    curator: User,
    *,
    limit: int,
    exclude: Collection[UUID] = (),
    survey: Survey | None = None,
    first: Collection[UUID] = (),
    blinding: Blinding = Blinding.SHOWN,
) -> list[Card]:
    """Cards of the next candidates for this person, to whom they are assigned from now on.

    Those named ``first``, pulled out of a page of many, come before all others.
    """
    order = selectors.named_first(first)
    chosen = services.take_with_checks(
        curator, limit=limit, held=exclude, survey=survey, order=order
    )
    return [make_card(detection, curator, blinding=blinding) for detection in chosen]


def make_card(
    detection: Detection,
    curator: User,
    *,
    is_settling: bool = False,
    blinding: Blinding = Blinding.SHOWN,
) -> Card:
    """Gather one card; what others say is on it once I have said mine, or am to settle it."""
    astro_object = object_of(detection.pk)
    unit = astro_object.pk if astro_object is not None else detection.pk
    mine = selectors.current_verdict(detection, curator)
    if mine is not None and selectors.pending_checks(curator).filter(pk=detection.pk).exists():
        mine = None  # it came back to be looked at afresh
    answers = [verdict for _, verdict in selectors.answers_about([unit])]
    is_told = is_settling or mine is not None
    curve = catalog_pages.light_curve(astro_object, current=detection.observation_id, height=210)
    cutouts = detection_pages.view_cutouts(detection)
    return Card(
        detection=detection,
        cutouts=cutouts,
        pictures=view_pictures(detection, cutouts),
        why=detection_pages.why_rows(detection),
        warnings=detection_pages.warnings(detection),
        astro_object=astro_object,
        charts=curve.telling,
        total_charts=curve.total,
        n_points=curve.n_points,
        known=_known(detection),
        may_be=glance(detection).words,
        verdict=mine,
        is_blind=mine is None and is_hidden(blinding, detection.pk, curator),
        others=[v for v in answers if v.curator_id != curator.pk] if is_told else [],
    )


def _known(detection: Detection) -> list[KindContext]:
    """What lists know of a candidate's place when it was seen; nothing without a place."""
    if detection.ra is None or detection.dec is None:
        return []
    return context_of(detection.ra, detection.dec, mjd=detection.observation.mid_mjd)


def view_pictures(detection: Detection, cutouts: detection_pages.CutoutView) -> PictureView:
    """The same candidate for a browser that draws numbers itself."""
    address = reverse("observations:viewer", args=[detection.observation_id])
    words = describe_change(detection)
    told = {
        "science": f"Science image around x {detection.x:.1f}, y {detection.y:.1f}",
        "template": "Reference at the same place and brightness scale",
        "difference": f"Difference: {words}",
        "ratio": f"Difference over its noise; significance {detection.score:+.1f} sigma",
        "context": "The science frame around it, in pixels four times as large",
    }
    return PictureView(
        panels=tuple(detection_pages.Panel(n, label, 0, told[n]) for n, label in PICTURES.items()),
        words=words,
        orientation=cutouts.orientation,
        frame=f"{address}?x={detection.x:.1f}&y={detection.y:.1f}",
        state={
            "pixels": reverse("detection:pixels", args=[detection.pk, pixel_digest(detection)]),
            "turn": cutouts.turn,
            "x": detection.x,
            "y": detection.y,
            "scale": cutouts.scale_arcsec,
            "isNorthUp": cutouts.is_north_up,
        },
    )


def look_json() -> str:
    """How numbers become colours, once for every candidate of a page."""
    told = {
        "codes": {"softening": SOFTENING, "missing": MISSING},
        "missing": MISSING_COLOUR,
        "colours": {n: colormap_table(n)[::17].tolist() for n in ("gray", "diverging")},
        "planes": [
            {"bit": int(plane), "label": detection_pages.plane_label(plane), "colour": colour}
            for plane, colour in plane_colours().items()
        ],
    }
    return json.dumps(told)


def describe_change(detection: Detection) -> str:
    """What changed at a candidate, in words and numbers, for those who cannot see the pictures."""
    features = detection.features
    sign = "Brighter" if detection.score > 0 else "Fainter"
    snr = abs(detection.flux / detection.flux_error)
    said = [f"{sign} than in the reference: flux S/N {snr:.1f}"]
    dipole, near = features.get("dipole_ratio"), features.get("star_proximity")
    below = features.get("log_flux_over_template")
    if dipole is not None:
        said.append(f"opposite lobe {100 * dipole:.0f} % of its flux")
    if below is not None:
        said.append(f"the reference holds {10**-below:.1g} times its flux here")
    if near:
        said.append(f"nearest bright star {-5 * math.log(near):.1f} PSF widths away")
    return ", ".join(said)


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
        n_waiting=selectors.open_count(curator, survey=survey)
        + selectors.pending_checks(curator, survey=survey).count(),
        median_seconds=statistics.median(seconds) if seconds else None,
    )
