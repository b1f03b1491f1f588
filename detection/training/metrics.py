"""How good scores are: figures with bootstrap intervals; what is undefined is None, never zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

Values = NDArray[np.float64]
Truth = NDArray[np.bool_]
Json = Any
Metric = Callable[[Values, Truth], float | None]

#: Share of the bogus that may pass where the missed real are counted.
PASSING = 0.01
_BINS = 10
#: Points of a drawn curve.
_N_POINTS = 101
_LEVEL = 0.95


def roc_auc(score: Values, is_real: Truth) -> float | None:
    """Probability that a real one scores above a bogus one."""
    if _is_one_class(is_real):
        return None
    return float(roc_auc_score(is_real, score))


def auc_pr(score: Values, is_real: Truth) -> float | None:
    """Average precision."""
    if _is_one_class(is_real):
        return None
    return float(average_precision_score(is_real, score))


def missed_at_fpr(score: Values, is_real: Truth) -> float | None:
    """Share of the real at or below the score that 1 % of the bogus exceed."""
    if _is_one_class(is_real):
        return None
    limit = np.quantile(score[~is_real], 1.0 - PASSING)
    return float((score[is_real] <= limit).mean())


def calibration_error(score: Values, is_real: Truth) -> float | None:
    """Expected calibration error: mean |predicted - observed| over tenths, weighted by count."""
    if len(score) == 0:
        return None
    tenth = np.minimum((score * _BINS).astype(np.int64), _BINS - 1)
    predicted = np.bincount(tenth, weights=score, minlength=_BINS)
    observed = np.bincount(tenth, weights=is_real.astype(np.float64), minlength=_BINS)
    return float(np.abs(predicted - observed).sum() / len(score))


def brier(score: Values, is_real: Truth) -> float | None:
    """Mean squared error of the probability."""
    if len(score) == 0:
        return None
    return float(np.mean((score - is_real) ** 2))


def matthews(score: Values, is_real: Truth) -> float | None:
    """Matthews correlation at a score of one half."""
    said = score >= 0.5
    counts = [
        float((said & is_real).sum()),
        float((~said & ~is_real).sum()),
        float((said & ~is_real).sum()),
        float((~said & is_real).sum()),
    ]
    tp, tn, fp, fn = counts
    norm = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return None if norm == 0 else float((tp * tn - fp * fn) / np.sqrt(norm))


METRICS: dict[str, Metric] = {
    "roc_auc": roc_auc,
    "auc_pr": auc_pr,
    "missed_at_1pct_fpr": missed_at_fpr,
    "calibration_error": calibration_error,
    "brier": brier,
    "matthews": matthews,
}


def judge(
    score: Values,
    is_real: Truth,
    *,
    group: NDArray[np.str_],
    seed: int = 1,
    n_draws: int = 200,
    names: tuple[str, ...] = tuple(METRICS),
) -> dict[str, Json]:
    """Metrics with 95 % intervals by drawing groups with replacement.

    Parameters
    ----------
    score : NDArray[float64], shape (n,)
        0 to 1; rows without a score (NaN) are left out and counted.
    is_real : NDArray[bool], shape (n,)
        The truth.
    group : NDArray[str], shape (n,)
        What is drawn as a whole: rows of one group are not independent.
    seed, n_draws : int
        Of the draws.
    names : tuple of str
        Which of ``METRICS``.

    Returns
    -------
    dict
        ``n_real``, ``n_bogus``, ``n_without_score``; each metric as ``{"value", "low", "high"}``,
        all None where it is undefined, the interval None where fewer than half of the draws
        define it.

    Raises
    ------
    ValueError
        If the arrays differ in length.
    """
    if not len(score) == len(is_real) == len(group):
        msg = f"lengths differ: {len(score)} scores, {len(is_real)} truths, {len(group)} groups"
        raise ValueError(msg)
    known = np.isfinite(score)
    score, is_real, group = score[known], is_real[known], group[known]
    draws = _draws(group, seed=seed, n_draws=n_draws)
    answer: dict[str, Json] = {
        "n_real": int(is_real.sum()),
        "n_bogus": int((~is_real).sum()),
        "n_without_score": int((~known).sum()),
    }
    for name in names:
        answer[name] = _with_interval(METRICS[name], score, is_real, draws=draws)
    return answer


def curves(score: Values, is_real: Truth) -> dict[str, Json] | None:
    """Points to draw: the two curves behind the areas, and how far probabilities can be trusted.

    Parameters
    ----------
    score : NDArray[float64], shape (n,)
        0 to 1, finite.
    is_real : NDArray[bool], shape (n,)
        The truth.

    Returns
    -------
    dict or None
        ``roc``: (share of the bogus passing, share of the real passing); ``pr``: (recall,
        precision); ``reliability``: (mean score, share real, number) of each tenth that has any.
        At most 101 points a curve. None for one class only.
    """
    if _is_one_class(is_real):
        return None
    passing, found, _ = roc_curve(is_real, score)
    precision, recall, _ = precision_recall_curve(is_real, score)
    tenth = np.minimum((score * _BINS).astype(np.int64), _BINS - 1)
    bins = [tenth == k for k in range(_BINS) if (tenth == k).any()]
    return {
        "roc": _thinned(passing, found),
        "pr": _thinned(recall[::-1], precision[::-1]),
        "reliability": [
            [round(float(score[b].mean()), 4), round(float(is_real[b].mean()), 4), int(b.sum())]
            for b in bins
        ],
    }


def _thinned(x: Values, y: Values) -> list[list[float]]:
    """Points of a curve, evenly along its length, both ends kept."""
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    wanted = np.linspace(0.0, length[-1], min(_N_POINTS, len(x)))
    rows = np.unique(np.searchsorted(length, wanted, side="left").clip(0, len(x) - 1))
    return [[round(float(x[i]), 4), round(float(y[i]), 4)] for i in rows]


def compare(
    score: Values,
    other: Values,
    is_real: Truth,
    *,
    group: NDArray[np.str_],
    seed: int = 1,
    n_draws: int = 200,
) -> dict[str, float | None]:
    """By how much the average precision of one score is above another's on the same samples.

    Parameters
    ----------
    score, other : NDArray[float64], shape (n,)
        Two scores of each sample, finite.
    is_real : NDArray[bool], shape (n,)
        The truth.
    group : NDArray[str], shape (n,)
        What is drawn as a whole.
    seed, n_draws : int
        Of the draws; both scores are judged on the same ones.

    Returns
    -------
    dict
        ``value``, and ``low`` and ``high`` of its 95 % interval, as in ``judge``.
    """
    pair = np.column_stack([score, other])

    def gain(both: Values, truth: Truth) -> float | None:
        first, second = auc_pr(both[:, 0], truth), auc_pr(both[:, 1], truth)
        return None if first is None or second is None else first - second

    return _with_interval(gain, pair, is_real, draws=_draws(group, seed=seed, n_draws=n_draws))


def _with_interval(
    metric: Metric, score: Values, is_real: Truth, *, draws: list[NDArray[np.int64]]
) -> dict[str, float | None]:
    drawn = [metric(score[rows], is_real[rows]) for rows in draws]
    values = np.array([value for value in drawn if value is not None])
    low: float | None = None
    high: float | None = None
    if len(values) > len(draws) / 2:
        edges = (0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2)
        low, high = (round(float(edge), 4) for edge in np.quantile(values, edges))
    value = metric(score, is_real)
    return {"value": None if value is None else round(value, 4), "low": low, "high": high}


def _draws(group: NDArray[np.str_], *, seed: int, n_draws: int) -> list[NDArray[np.int64]]:
    """Rows of groups drawn with replacement."""
    if len(group) == 0:
        return []
    rng = np.random.default_rng(seed)
    _, label = np.unique(group, return_inverse=True)
    order = np.argsort(label, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(label))[:-1])
    if len(members) == 1:
        # one group says nothing about how groups differ
        return []
    return [
        np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        for _ in range(n_draws)
    ]


def _is_one_class(is_real: Truth) -> bool:
    return bool(is_real.all() or not is_real.any())
