"""Why a place of a frame gave what it gave: stage by stage, and the least that would change it."""

from __future__ import annotations

from detection.algorithms.place_facts import (
    Candidate,
    Ending,
    Explanation,
    FrameFacts,
    Step,
)
from detection.algorithms.place_words import LOW_SCORE, step_words, verdict_words

#: With more of a source's PSF masked than this it is masked, not faint.
MASKED_SHARE = 0.3
#: Stages of the way in order, as a page names them.
STAGES = {
    "coverage": "Coverage",
    "processing": "Processing",
    "mask": "Mask",
    "threshold": "Threshold",
    "cuts": "Cuts",
    "score": "Model",
    "object": "Object",
    "verdict": "People",
}
_STOP = {
    Ending.UNPLACED: "coverage",
    Ending.NOT_COVERED: "coverage",
    Ending.NOT_SEARCHED: "processing",
    Ending.MASKED: "mask",
    Ending.BELOW_THRESHOLD: "threshold",
    Ending.BLENDED: "threshold",
    Ending.CUT: "cuts",
    Ending.LOW_SCORE: "score",
    Ending.HUMAN: "verdict",
}


def explain_place(facts: FrameFacts) -> Explanation:
    """Say where the way of a place ended, and why.

    Parameters
    ----------
    facts : FrameFacts
        What is stored of the frame and what its pixels say there.

    Returns
    -------
    Explanation
        A stored candidate speaks before the pixels: it was found, whatever lies beside it.
    """
    ending = _ending(facts)
    sentence, change = verdict_words(facts, ending)
    candidate = facts.candidate
    return Explanation(
        ending=ending,
        sentence=sentence,
        change=change,
        cut=str(candidate.failed[0]["name"]) if candidate and candidate.failed else "",
        steps=_steps(facts, ending),
    )


def _ending(facts: FrameFacts) -> Ending:
    if facts.beyond_pix is None and facts.stop is None:
        return Ending.UNPLACED
    if facts.beyond_pix is not None and facts.beyond_pix > 0:
        return Ending.NOT_COVERED
    if facts.stop is not None or facts.reading is None:
        return Ending.NOT_SEARCHED
    if facts.candidate is not None:
        return _ending_of_candidate(facts.candidate)
    reading = facts.reading
    if reading.is_lost or reading.masked_share > MASKED_SHARE or reading.peak_score is None:
        return Ending.MASKED
    if abs(reading.peak_score) < facts.threshold:
        return Ending.BELOW_THRESHOLD
    # every peak above the threshold is a candidate: it is another's flank, or was not recorded
    return Ending.BLENDED if facts.neighbour and not facts.n_unstored else Ending.CUT


def _ending_of_candidate(candidate: Candidate) -> Ending:
    if candidate.failed:
        return Ending.CUT
    if candidate.saying is not None and candidate.saying.label == "bogus":
        return Ending.HUMAN
    is_low = candidate.real_bogus is not None and candidate.real_bogus < LOW_SCORE
    return Ending.LOW_SCORE if is_low and candidate.saying is None else Ending.FOUND


def _steps(facts: FrameFacts, ending: Ending) -> tuple[Step, ...]:
    """Every stage in order: what it saw, and whether the way went on from it."""
    words = step_words(facts)
    stop = _STOP.get(ending)
    has_stopped = False
    steps = []
    for name, title in STAGES.items():
        state = "stopped" if name == stop else "not reached" if has_stopped else "passed"
        has_stopped |= name == stop
        # what is known of a later stage stays unsaid: the way did not lead there
        told = "" if state == "not reached" else words.get(name, "")
        steps.append(Step(name, title, state, told))
    return tuple(steps)
