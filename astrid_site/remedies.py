"""What a person can do about a frame that the data stopped: the type of each trouble and a remedy.

The science code says what defeated it, in one sentence with its numbers; it knows neither pages nor
settings. Here those sentences get a stable code and the next step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from differencing.pages import plain_words


@dataclass(frozen=True)
class Explanation:
    """One plain text for people, and a code for programs."""

    text: str
    code: str


@dataclass(frozen=True)
class _Case:
    """Sentences that mean one trouble."""

    code: str
    pattern: str
    remedy: str


_CASES = (
    _Case(
        "no_date",
        r"the frame has no date",
        "",  # the sentence says itself what to give
    ),
    _Case(
        "no_field",
        r"neither world coordinates nor a target name",
        "Give its target in a sidecar table.",
    ),
    _Case(
        "no_reference_yet",
        r"^no reference yet",
        "It goes on by itself when an earlier frame comes in; or name a frame as reference.",
    ),
    _Case(
        "little_overlap",
        r"\breference covers\b|% of the frame is usable in both",
        "Name a frame that covers it as reference, or lower the overlap that the survey asks for, "
        "then retry.",
    ),
    _Case(
        "wrong_wcs",
        r"\bWCS (is wrong|puts no star)|world coordinates of the two frames",
        "Solve the astrometry of the frame anew and hand it in again.",
    ),
    _Case(
        "no_wcs",
        r"no world coordinates|without world coordinates",
        "Solve the astrometry of the frame and hand it in again.",
    ),
    _Case(
        "no_reference_psf",
        r"^the frame that would be the reference, .*PSF could not be measured",
        "Name another frame as reference, or give that frame a PSF image in the psf column of a "
        "sidecar table; then retry.",
    ),
    _Case(
        "no_psf",
        r"the PSF could not be measured",
        "Look whether the frame is in focus and shows enough stars, or give it a PSF image in "
        "the psf column of a sidecar table; then retry.",
    ),
    _Case(
        "few_stars",
        r"too few (clean )?stars|usable stars|the stars do not make a PSF",
        "Look whether the frame is in focus and shows the sky, and whether the survey's "
        "saturation is right; then retry.",
    ),
    _Case("too_small", r"too small to calibrate", "Hand in the whole frame."),
    _Case(
        "no_sky",
        r"too few usable pixels|the frame is constant|no measurable noise",
        "Look whether the file holds the sky and the mask belongs to it; hand it in again.",
    ),
    _Case(
        "bad_companion",
        r"pixels, the frame \d|the given PSF",
        "Hand in the mask, noise image or PSF that belongs to this frame.",
    ),
    _Case(
        "bad_method", r"none of auto, kernel, zogy", "Choose one of them in the survey's settings."
    ),
    _Case(
        "bad_difference",
        r"the difference \(|images do not match|no clean difference|^suspicious",
        "Look at reference and difference; name better frames as reference, or choose another "
        "method in the survey's settings, then retry.",
    ),
    _Case(
        "memory",
        r"out of memory",
        "Give the workers more memory or run fewer of them, then retry.",
    ),
)
_OTHER = "Look at the frame and at the numbers of this step; mend what they show, then retry."


def explain(message: str, *, is_failure: bool) -> Explanation:
    """A sentence of the science code in plain words, with what can be done about it."""
    case = next((case for case in _CASES if re.search(case.pattern, message)), None)
    text = plain_words(message).rstrip(".")
    if case is None:
        return Explanation(f"{text}. {_OTHER}", "other") if is_failure else Explanation(text, "")
    return Explanation(f"{text}. {case.remedy}" if case.remedy else text, case.code)
