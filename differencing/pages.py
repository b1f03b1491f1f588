"""What pages say of the quality of a difference: its numbers in plain words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from astrid_site.core.templatetags.astro import significant
from differencing import selectors
from differencing.models import DifferenceRun, ReferenceEpoch, ReferenceImage


@dataclass(frozen=True)
class _Words:
    """One number of a difference: its name, and what is said where it is too low or too high."""

    name: str
    low: str = ""
    high: str = ""
    is_fraction: bool = False
    unit: str = ""


_NUMBERS = {
    "chi2_stars_median": _Words(
        "residuals at bright stars", high="residuals at most bright stars are larger than expected"
    ),
    "chi2_stars_p75": _Words(
        "residuals at the worst quarter of the bright stars",
        high="residuals at a quarter of the bright stars are larger than expected",
    ),
    # judged by earlier versions, whose rows stay
    "chi2_stars_p90": _Words(
        "residuals at the worst bright stars",
        high="residuals at bright stars are larger than expected",
    ),
    "model_flux_error": _Words(
        "the match in brightness",
        high="stars are matched in brightness less well than expected",
        is_fraction=True,
    ),
    "model_shift_pix": _Words(
        "the match in position", high="stars are displaced between the two images", unit="pix"
    ),
    "stars_left": _Words(
        "bright stars that were not subtracted",
        high="many bright stars are left as if nothing had been subtracted",
        is_fraction=True,
    ),
    "pull_width_propagated": _Words(
        "the noise against its prediction",
        low="the noise is lower than predicted",
        high="the noise is higher than predicted",
    ),
    "score_width_all": _Words(
        "the width of the significance over the whole frame",
        low="the significance varies less over the frame than noise would",
        high="the significance varies more over the frame than noise would",
    ),
    "score_over_3_sigma": _Words(
        "the part of the frame beyond 3 sigma",
        high="more of the frame is beyond 3 sigma than noise and real sources explain",
        is_fraction=True,
    ),
    "score_over_5_sigma": _Words(
        "the part of the frame beyond 5 sigma",
        high="more of the frame is beyond 5 sigma than noise and real sources explain",
        is_fraction=True,
    ),
    "background_left": _Words(
        "the sky that is left, in units of its noise",
        high="the sky of the two images differs in places, and was not matched there",
    ),
    "lag1": _Words(
        "the correlation of neighbouring pixels",
        low="neighbouring pixels are anticorrelated",
        high="neighbouring pixels are correlated",
    ),
    "dipole_fraction": _Words(
        "the share of stars that leave dipoles", high="many stars leave dipoles", is_fraction=True
    ),
    "coverage": _Words(
        "the part of the frame that could be compared",
        low="only a part of the frame could be compared",
        is_fraction=True,
    ),
    "n_blank": _Words(
        "the blank sky", low="there is little blank sky to measure the noise on", unit="pix"
    ),
    "gain_factor": _Words(
        "the header's gain against the sky's noise, in times",
        high="the noise of the sky contradicts the gain in the header",
    ),
    "n_other_bands": _Words(
        "bands other than the science image's", high="the reference is of another band"
    ),
    "pattern_height": _Words(
        "the height of fringes, in units of the sky's noise",
        high="a background pattern (fringes?) was found and not taken off",
    ),
}
_NUMBER = r"-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf)"
_OUTSIDE = re.compile(rf"\b(\w+) ({_NUMBER}) is outside ({_NUMBER}) to ({_NUMBER})")
_MISSING = re.compile(r"\b(\w+) could not be measured")
_VERDICTS = {
    DifferenceRun.Quality.PASS: "good",
    DifferenceRun.Quality.DOWNGRADE: "to be used with care",
    DifferenceRun.Quality.FAIL: "not to be trusted",
}


@dataclass(frozen=True)
class Quality:
    """The verdict on a difference and the reasons for it, for people.

    ``label`` begins with the word that products and programs have for it.
    """

    verdict: str
    label: str
    method_reason: str
    reasons: tuple[str, ...]


def quality_of(run: DifferenceRun) -> Quality:
    """What is said of one difference."""
    verdict = _VERDICTS[DifferenceRun.Quality(run.quality)] if run.quality else ""
    is_doubtful = run.quality not in ("", DifferenceRun.Quality.PASS)
    return Quality(
        verdict=verdict,
        label=f"{run.quality}: {verdict}" if is_doubtful else run.quality,
        method_reason=plain_words(run.method_reason),
        reasons=tuple(plain_words(str(reason)) for reason in run.quality_reasons),
    )


@dataclass(frozen=True)
class QualityRow:
    """One number of a difference against its limit.

    ``used`` is the part of the allowed departure from the ideal that was used up: 1 is the limit.
    """

    name: str
    value: str
    limit: str
    used: float | None
    verdict: str

    @property
    def in_words(self) -> str:
        """What the bar shows, for those who do not see it."""
        return {"pass": "within its limit", "downgrade": "beyond its limit"}.get(
            self.verdict, "far beyond its limit"
        )

    @property
    def bar(self) -> float:
        """Length of a bar whose limit is drawn at 50 of 100."""
        return 0.0 if self.used is None else round(min(100.0, 50.0 * self.used), 1)


def quality_rows(run: DifferenceRun) -> list[QualityRow]:
    """Every number that the quality was judged by, with the limit of the day."""
    told = run.metrics.get("quality_limits") or []
    return [_quality_row(limit, run.metrics.get(str(limit["name"]))) for limit in told]


def _quality_row(told: dict[str, Any], value: object) -> QualityRow:
    words = _NUMBERS.get(told["name"]) or _Words(told["name"].replace("_", " "))
    passing, tolerable = _bounds(told["passing"]), _bounds(told["tolerable"])
    shown = {"name": words.name, "limit": _limit_in_words(passing, words)}
    if isinstance(value, bool) or not isinstance(value, int | float):
        return QualityRow(**shown, value="not measured", used=None, verdict="downgrade")
    verdict = "fail"
    for name, (low, high) in (("downgrade", tolerable), ("pass", passing)):
        if low <= value <= high:
            verdict = name
    used = _used(float(value), passing)
    return QualityRow(**shown, value=_show(float(value), words), used=used, verdict=verdict)


def _bounds(told: Sequence[float | None]) -> tuple[float, float]:
    """Limits as they were before JSON, which knows no infinity."""
    low, high = told
    return (-math.inf if low is None else low, math.inf if high is None else high)


def _used(value: float, passing: tuple[float, float]) -> float:
    """How much of the allowance a number took; the ideal is zero, the middle or the far end."""
    low, high = passing
    if math.isinf(high):
        return low / value if value > 0 else math.inf
    if low == high:
        return 0.0 if value == low else math.inf
    if low == 0:
        return value / high
    if high == 1:
        return (high - value) / (high - low)
    return abs(2 * value - low - high) / (high - low)


def _limit_in_words(passing: tuple[float, float], words: _Words) -> str:
    low, high = passing
    if math.isinf(high):
        return f"at least {_show(low, words)}"
    if low == 0:
        return f"at most {_show(high, words)}"
    if high == 1:
        return f"at least {_show(low, words)}"
    return f"{_show(low, words)} to {_show(high, words)}"


def plain_words(text: str) -> str:
    """A text with the engine's findings put plainly; what is unknown stays as it is."""
    return _MISSING.sub(_say_missing, _OUTSIDE.sub(_say_outside, text))


def _say_missing(found: re.Match[str]) -> str:
    words = _NUMBERS.get(found[1])
    return f"{words.name} could not be measured" if words else found[0]


def _say_outside(found: re.Match[str]) -> str:
    words = _NUMBERS.get(found[1])
    value, low, high = (float(part) for part in found.groups()[1:])
    is_low = value < low
    said = words and (words.low if is_low else words.high)
    if words is None or not said:
        return found[0]
    limit = low if is_low else high
    return f"{said} ({_show(value, words)}, limit {_show(limit, words)})"


def _show(value: float, words: _Words) -> str:
    if not math.isfinite(value):
        return f"{value:g}"
    # the digits that are there, without zeros that nobody measured
    shown = float(f"{100 * value if words.is_fraction else value:.3g}")
    text = str(significant(int(shown) if shown.is_integer() else shown, 3))
    if "." in text and "e" not in text:
        text = text.rstrip("0").rstrip(".")
    unit = "%" if words.is_fraction else words.unit
    return f"{text} {unit}" if unit else text


@dataclass(frozen=True)
class EpochRow:
    """One epoch of a reference."""

    epoch: ReferenceEpoch
    #: False for one of the former version, which counts only where the sky changed since.
    is_stacked: bool


@dataclass(frozen=True)
class GainRow:
    """Noise of a difference with so many epochs in the reference, in units of that with one."""

    n_epochs: int
    noise: float

    @property
    def bar(self) -> float:
        """Length of a bar, of 100."""
        return round(100.0 * self.noise, 1)


@dataclass(frozen=True)
class ReferencePage:
    """One reference: what it is made of, why, and what came before and after it."""

    reference: ReferenceImage
    versions: list[ReferenceImage]
    epochs: list[EpochRow]
    gains: list[GainRow]
    n_differences: int


def reference_page(reference: ReferenceImage) -> ReferencePage:
    """Gather the page of one reference."""
    epochs = selectors.epochs_of(reference)
    # a former epoch only fills the places that changed: its mean share is next to nothing
    least = 0.5 / max(1, len(epochs)) ** 2
    told = reference.metrics.get("predicted_noise") or []
    return ReferencePage(
        reference=reference,
        versions=selectors.versions_of(reference),
        epochs=[EpochRow(epoch, epoch.weight > least) for epoch in epochs],
        gains=[GainRow(n, float(noise)) for n, noise in enumerate(told, start=1)],
        n_differences=selectors.count_differences(reference),
    )
