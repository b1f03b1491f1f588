"""How far people agree with each other and with a model, beyond what chance would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.stats import binom_conf_interval

CONFIDENCE = 0.95
#: Fewer common answers say nothing of an agreement.
MIN_COMMON = 10


@dataclass(frozen=True)
class Share:
    """A share of some cases with its 95 % interval (Wilson 1927, JASA 22, 209).

    Attributes
    ----------
    n, n_of : int
        How many of how many.
    value, low, high : float or None
        The share and its interval; None of none.
    """

    n: int
    n_of: int
    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, n: int, n_of: int) -> Share:
        """The share of n among n_of."""
        if n_of == 0:
            return cls(n, n_of, None, None, None)
        low, high = binom_conf_interval(n, n_of, CONFIDENCE, interval="wilson")
        return cls(n, n_of, n / n_of, float(low), float(high))


def cohen_kappa(mine: Sequence[str], theirs: Sequence[str]) -> float | None:
    """Agreement of two people beyond chance.

    Parameters
    ----------
    mine, theirs : sequence of str
        Their answers about the same things, in the same order.

    Returns
    -------
    float or None
        1 where they always agree, 0 as by chance; None for fewer than ``MIN_COMMON`` answers, or
        where both always give the same one answer.

    References
    ----------
    .. [1] Cohen 1960, Educational and Psychological Measurement 20, 37
    """
    from sklearn.metrics import cohen_kappa_score

    if len(mine) < MIN_COMMON or len({*mine, *theirs}) < 2:
        return None
    return float(cohen_kappa_score(list(mine), list(theirs)))


def slope_per_hundred(seconds: Sequence[float]) -> float | None:
    """How much slower decisions become within a sitting.

    Parameters
    ----------
    seconds : sequence of float
        Time each decision took [s], in their order.

    Returns
    -------
    float or None
        Relative change of the usual time over a hundred decisions, by the median of the slopes of
        all pairs of their logarithms (Theil 1950; Sen 1968); None for fewer than 30.
    """
    from scipy.stats import theilslopes

    times = np.log(np.maximum(np.asarray(seconds, dtype=np.float64), 0.05))
    if times.size < 30:
        return None
    return float(np.expm1(100.0 * theilslopes(times)[0]))
