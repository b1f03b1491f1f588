"""When a model harms the canaries: the rule by which a champion is thrown out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Values = NDArray[np.float64]
Truth = NDArray[np.bool_]

#: The margin must lie outside of the two-sided interval of this confidence.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval; None where nothing was counted."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class CanaryFigures:
    """How a model does at the working cut.

    Attributes
    ----------
    completeness : Share
        Real canaries at or above the cut; one without a score is lost.
    false_alarms : Share
        Bogus canaries at or above the cut.
    n_scored : int
        Canaries that have a score at all.
    """

    completeness: Share
    false_alarms: Share
    n_scored: int


@dataclass(frozen=True)
class Harm:
    """What a model does worse than another on the same canaries; ``says`` is empty where nothing.

    Attributes
    ----------
    lost, passed : Share
        By how much fewer of the real are found, and more of the bogus pass.
    says : str
        A sentence for people.
    """

    lost: Share
    passed: Share
    says: str


def figures(score: Values, is_real: Truth, *, cut: float) -> CanaryFigures:
    """Completeness and false alarms at a cut.

    Parameters
    ----------
    score : NDArray[float64], shape (n,)
        0 to 1; NaN where the model gives none.
    is_real : NDArray[bool], shape (n,)
        The truth.
    cut : float
        The working cut.
    """
    passes = _passes(score, cut)
    return CanaryFigures(
        wilson(int(passes[is_real].sum()), int(is_real.sum())),
        wilson(int(passes[~is_real].sum()), int((~is_real).sum())),
        int(np.isfinite(score).sum()),
    )


def judge_harm(
    now: Values, before: Values, is_real: Truth, *, cut: float, margin: float, than: str
) -> Harm:
    """Whether scores are worse than others of the same canaries by more than a margin.

    Parameters
    ----------
    now, before : NDArray[float64], shape (n,)
        Scores of the model that is judged and of what it is judged by; NaN where there is none.
    is_real : NDArray[bool], shape (n,)
        The truth.
    cut : float
        The working cut.
    margin : float
        A loss of completeness, or a rise of false alarms, up to this share is borne.
    than : str
        What it is judged by, in words.

    Returns
    -------
    Harm
        It harms if the 95 % interval of one of the two lies above the margin as a whole.

    References
    ----------
    .. [1] Newcombe 1998, Statistics in Medicine 17, 2635, method 10 (paired shares).
    """
    passes, passed_before = _passes(now, cut), _passes(before, cut)
    lost = paired_difference(passed_before[is_real], passes[is_real])
    passed = paired_difference(passes[~is_real], passed_before[~is_real])
    says = ""
    if not np.isfinite(now).any():
        says = "it gives no canary a score"
    elif lost.low is not None and lost.low > margin:
        says = f"it finds {_percent(lost)} fewer of the real canaries than {than}"
    elif passed.low is not None and passed.low > margin:
        says = f"it lets {_percent(passed)} more of the bogus canaries pass than {than}"
    return Harm(lost, passed, says)


def paired_difference(first: Truth, second: Truth) -> Share:
    """Share of the first less that of the second, of the same things, with its interval.

    Parameters
    ----------
    first, second : NDArray[bool], shape (n,)
        Whether each thing passes one and the other.

    Returns
    -------
    Share
        All None for n = 0.

    References
    ----------
    .. [1] Newcombe 1998, Statistics in Medicine 17, 2635, method 10.
    """
    n = len(first)
    if n == 0:
        return Share(None, None, None)
    one, two = wilson(int(first.sum()), n), wilson(int(second.sum()), n)
    p, q = float(first.mean()), float(second.mean())
    low1, high1, low2, high2 = (float(e or 0.0) for e in (one.low, one.high, two.low, two.high))
    phi = _correlation(first, second)
    down = (p - low1) ** 2 - 2 * phi * (p - low1) * (high2 - q) + (high2 - q) ** 2
    up = (high1 - p) ** 2 - 2 * phi * (high1 - p) * (q - low2) + (q - low2) ** 2
    value = p - q
    return Share(value, value - np.sqrt(max(down, 0.0)), value + np.sqrt(max(up, 0.0)))


def _correlation(first: Truth, second: Truth) -> float:
    """Phi of the two by two table, corrected for continuity as the reference has it."""
    both, neither = float((first & second).sum()), float((~first & ~second).sum())
    one, two = float((first & ~second).sum()), float((~first & second).sum())
    norm2 = (both + one) * (two + neither) * (both + two) * (one + neither)
    if norm2 == 0:
        return 0.0
    cross = both * neither - one * two
    if cross > 0:
        cross = max(cross - len(first) / 2, 0.0)
    return float(cross / np.sqrt(norm2))


def _passes(score: Values, cut: float) -> Truth:
    return np.asarray(np.nan_to_num(score, nan=-1.0) >= cut, dtype=bool)


def wilson(k: int, n: int) -> Share:
    """Share of k in n with its 95 % interval (Wilson 1927, J. Am. Stat. Assoc. 22, 209)."""
    if n == 0:
        return Share(None, None, None)
    z = float(norm.ppf(0.5 + CONFIDENCE / 2))
    p = k / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    spread = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return Share(p, max(float(middle - spread), 0.0), min(float(middle + spread), 1.0))


def _percent(share: Share) -> str:
    value, low, high = (100 * float(e or 0.0) for e in (share.value, share.low, share.high))
    return f"{value:.0f} % ({low:.0f} to {high:.0f} %)"
