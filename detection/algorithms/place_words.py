"""Why a place of a frame gave what it gave, in words with their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from astrid_site.imaging.flux_density import with_error
from detection.algorithms.place_facts import (
    Candidate,
    Ending,
    FrameFacts,
    Neighbour,
    Saying,
    Stop,
)
from detection.algorithms.place_reading import PlaceReading

#: A calibrated score below this says rather bogus than real.
LOW_SCORE = 0.5
#: Lower than this a threshold would let in what noise alone makes everywhere [sigma].
LEAST_THRESHOLD = 3.5
#: From so many limits on a margin is told as a multiple.
_MANY = 2.0


def verdict_words(facts: FrameFacts, ending: Ending) -> tuple[str, str]:
    """One sentence on how the way ended, and the smallest change that would have carried it on."""
    return _SAY[ending](facts)


def step_words(facts: FrameFacts) -> dict[str, str]:
    """What each stage saw, by the stage's name."""
    return {
        "coverage": _coverage_words(facts),
        "processing": "calibrated and subtracted"
        if facts.stop is None
        else first_reason(facts.stop.reason),
        **(_pixel_words(facts.reading, facts.threshold) if facts.reading else {}),
        **(_candidate_words(facts.candidate) if facts.candidate else {}),
    }


def _unplaced(_facts: FrameFacts) -> tuple[str, str]:
    return (
        "The frame has no usable world coordinates: what lies where on it is not known.",
        "world coordinates for the frame",
    )


def _not_covered(facts: FrameFacts) -> tuple[str, str]:
    beyond = facts.beyond_pix or 0.0
    far = f"{beyond:.0f} pix"
    if facts.scale_arcsec:
        far += f" ({angle_words(beyond * facts.scale_arcsec)})"
    return (
        f"Not covered: the place lies {far} beyond the edge of the frame.",
        f"a pointing {far} nearer",
    )


def _not_searched(facts: FrameFacts) -> tuple[str, str]:
    stop = facts.stop or Stop("Register and subtract", "none", "no difference is kept")
    is_over = stop.status in {"failed", "skipped", "cancelled"}
    said = f": {first_reason(stop.reason)}" if stop.reason else ""
    step = stop.title.lower()
    if is_over:
        return f"Not searched: \u201c{step}\u201d {stop.status}{said}.", f"\u201c{step}\u201d done"
    return f"Not searched yet: \u201c{step}\u201d is still to be done{said}.", "waiting for it"


def first_reason(reason: str) -> str:
    """The first of several reasons, without what may be done about it."""
    return reason.split("; ")[0].split(". ")[0].rstrip(".")


def _masked(facts: FrameFacts) -> tuple[str, str]:
    reading = _reading(facts)
    planes = ", ".join(reading.planes) or "pixels without a difference"
    nearest = (
        f"the nearest usable pixel is {reading.usable_pix:.1f} pix away"
        if reading.usable_pix is not None
        else "no pixel around can be used"
    )
    what = f"without {planes}" if reading.planes else "a difference there"
    return (
        f"Masked: {planes}; {reading.masked_share:.0%} of a point source there is lost, {nearest}.",
        f"a mask {what}",
    )


#: Below this a score is noise, of which no source can be made brighter [sigma].
STANDS_OUT = 3.0


def _below(facts: FrameFacts) -> tuple[str, str]:
    reading = _reading(facts)
    peak = abs(reading.peak_score or 0.0)
    words = (
        f"Below the threshold: score {reading.peak_score:+.2f} within {reading.fwhm_pix:.1f} pix, "
        f"{facts.threshold:g} needed"
    )
    if reading.flux_snr is not None:
        words += f"; forced flux {reading.flux_snr:+.1f} sigma"
    if reading.limiting_magnitude is not None:
        words += f", 5 sigma limit there {reading.limiting_magnitude:.2f} mag"
    lower = math.floor(10.0 * peak) / 10.0
    if peak >= STANDS_OUT:
        change = f"a source {2.5 * math.log10(facts.threshold / peak):.2f} mag brighter"
    elif reading.limiting_magnitude is not None:
        change = f"nothing stands out here: a source of {reading.limiting_magnitude:.2f} mag"
    else:
        change = "nothing stands out here: a source of five times the noise"
    if lower >= LEAST_THRESHOLD:
        change = f"threshold {facts.threshold:g} \u2192 {lower:g}, or {change}"
    return words.replace("-", "\u2212") + ".", change


def _blended(facts: FrameFacts) -> tuple[str, str]:
    near = facts.neighbour or Neighbour(0.0, 0.0)
    peak = _reading(facts).peak_score or 0.0
    return (
        f"No peak of its own: score {peak:+.1f} there is the flank of a candidate of "
        f"{near.score:+.1f}, {near.distance_pix:.1f} pix away.".replace("-", "\u2212"),
        "a sharper image, or a fainter neighbour",
    )


def _cut(facts: FrameFacts) -> tuple[str, str]:
    found = facts.candidate
    if found is None:
        peak = _reading(facts).peak_score or 0.0
        return (
            f"Found at {peak:+.1f} sigma and cut; of the {facts.n_unstored} weakest rejected "
            "candidates of this frame no cuts are kept.".replace("-", "\u2212"),
            "a stronger source: its cuts would be on record",
        )
    worst = found.failed[0]
    others = len(found.failed) - 1
    more = f", and {others} other cut{'s' if others > 1 else ''}" if others else ""
    words = f"Found at {found.score:+.1f} sigma and cut: {cut_words(worst)}{more}."
    return words.replace(" -", " \u2212"), "; ".join(loosened(cut) for cut in found.failed)


def _low_score(facts: FrameFacts) -> tuple[str, str]:
    found = _candidate(facts)
    return (
        f"Found and kept, but {found.scorer or 'the model'} gives it {_score_words(found)}: "
        f"{found.rank} of {found.n_kept} in the order of this frame.",
        f"a score of {LOW_SCORE:g}, or a person who looks at it",
    )


def _human(facts: FrameFacts) -> tuple[str, str]:
    said = _candidate(facts).saying or Saying("bogus")
    reason = f" ({said.reason})" if said.reason else ""
    return (
        f"Found and kept, but {said.who or 'a person'} called it bogus{reason}.",
        "that verdict withdrawn",
    )


def _found(facts: FrameFacts) -> tuple[str, str]:
    found = _candidate(facts)
    words = f"Found at {found.score:+.1f} sigma and kept"
    if found.real_bogus is not None:
        words += f", score {_score_words(found)}"
    words += f", part of {found.object_name}" if found.object_name else ", of no object yet"
    if found.saying is not None:
        words += f"; called {found.saying.label}"
    return f"{words}.".replace(" -", " \u2212"), ""


_SAY = {
    Ending.UNPLACED: _unplaced,
    Ending.NOT_COVERED: _not_covered,
    Ending.NOT_SEARCHED: _not_searched,
    Ending.MASKED: _masked,
    Ending.BELOW_THRESHOLD: _below,
    Ending.BLENDED: _blended,
    Ending.CUT: _cut,
    Ending.LOW_SCORE: _low_score,
    Ending.HUMAN: _human,
    Ending.FOUND: _found,
}


def _reading(facts: FrameFacts) -> PlaceReading:
    if facts.reading is None:
        msg = "facts: there is no reading of the pixels"
        raise ValueError(msg)
    return facts.reading


def _candidate(facts: FrameFacts) -> Candidate:
    if facts.candidate is None:
        msg = "facts: there is no candidate"
        raise ValueError(msg)
    return facts.candidate


def _score_words(found: Candidate) -> str:
    error = f" \u00b1 {found.real_bogus_error:.2f}" if found.real_bogus_error is not None else ""
    return f"{found.real_bogus:.2f}{error}"


def angle_words(arcsec: float) -> str:
    """An angle in the unit that a person would choose."""
    if arcsec < 120.0:
        return f"{arcsec:.1f}\u2033"
    return f"{arcsec / 60.0:.1f}\u2032" if arcsec < 7200.0 else f"{arcsec / 3600.0:.2f}\u00b0"


def cut_words(cut: Mapping[str, Any]) -> str:
    """A failed cut: its value, its limit, and by how much it failed."""
    least = "at least" if cut["value"] < cut["limit"] else "at most"
    name = str(cut["name"]).replace("_", " ")
    missed = abs(float(cut["margin"]))
    far = f"missed by {missed:.0%}" if missed < _MANY else f"{missed + 1:.0f} times the limit"
    return f"{name} {cut['value']:.3g}, {least} {cut['limit']:.3g} allowed ({far})"


def loosened(cut: Mapping[str, Any]) -> str:
    """The limit of a failed cut that would just have let the candidate pass."""
    value, limit = float(cut["value"]), float(cut["limit"])
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value else 0.01
    # outwards: the rounded limit must let it pass
    just = (math.floor(value / unit) if value < limit else math.ceil(value / unit)) * unit
    name = str(cut["name"]).replace("_", " ")
    return f"{name} {limit:.3g} \u2192 {just:.3g}".replace("-", "\u2212")


def _coverage_words(facts: FrameFacts) -> str:
    if facts.beyond_pix is None:
        return "no world coordinates"
    return f"{facts.beyond_pix:.0f} pix outside" if facts.beyond_pix > 0 else "inside the frame"


def _pixel_words(reading: PlaceReading, threshold: float) -> dict[str, str]:
    planes = f" ({', '.join(reading.planes)})" if reading.planes else ""
    share = f"{reading.masked_share:.0%} of the PSF masked{planes}"
    if reading.peak_score is None:
        return {"mask": share, "threshold": "no usable pixel"}
    peak = f"score {reading.peak_score:+.2f}, threshold {threshold:g}"
    if reading.flux is not None and reading.flux_error:
        peak += f"; forced flux {with_error(reading.flux, reading.flux_error)}"
    if reading.limiting_magnitude is not None:
        peak += f"; limit {reading.limiting_magnitude:.2f} mag"
    return {"mask": share, "threshold": peak.replace("-", "\u2212")}


def _candidate_words(found: Candidate) -> dict[str, str]:
    failed = "; ".join(cut_words(cut) for cut in found.failed)
    said = found.saying
    return {
        "cuts": failed or f"passed all {len(found.cuts)}",
        "score": f"{_score_words(found)} by {found.scorer}"
        if found.real_bogus is not None
        else found.scorer,
        "object": found.object_name or "none",
        "verdict": f"{said.label}{f' ({said.reason})' if said.reason else ''}"
        if said
        else "nobody decided yet",
    }
