"""Whether what a model sees now is what it saw before: two measures, each with its own scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

Values = NDArray[np.float64]

#: Fewer values on one side tell nothing.
MIN_VALUES = 50
#: By custom a population stability index above this is a changed population.
NOTABLE_PSI = 0.25
_N_BINS = 10


@dataclass(frozen=True)
class Drift:
    """How far two sets of values are apart; None where too few are known.

    Attributes
    ----------
    n_before, n_now : int
        Finite values on each side.
    psi : float or None
        Population stability index over tenths of the earlier values.
    ks, ks_p : float or None
        Kolmogorov-Smirnov distance, and the chance of a greater one where nothing changed.
    """

    n_before: int
    n_now: int
    psi: float | None
    ks: float | None
    ks_p: float | None

    @property
    def is_notable(self) -> bool:
        """Whether the two differ by more than custom bears, and not by chance (1 %)."""
        return (
            self.psi is not None
            and self.ks_p is not None
            and self.psi > NOTABLE_PSI
            and self.ks_p < 0.01
        )


def measure_drift(before: Values, now: Values) -> Drift:
    """Compare two sets of values.

    Parameters
    ----------
    before, now : NDArray[float64], shape (n,), (m,)
        One feature or score; what is not finite is left out.

    Returns
    -------
    Drift
        Measures are None with fewer than 50 values on a side.

    References
    ----------
    .. [1] Yurdakul & Naranjo 2020, J. Risk Model Validation 14(4) (distribution of the index).
    """
    before, now = before[np.isfinite(before)], now[np.isfinite(now)]
    if min(len(before), len(now)) < MIN_VALUES:
        return Drift(len(before), len(now), None, None, None)
    found = ks_2samp(before, now)
    return Drift(
        len(before), len(now), _stability(before, now), float(found.statistic), float(found.pvalue)
    )


def _stability(before: Values, now: Values) -> float:
    edges = np.unique(np.quantile(before, np.linspace(0, 1, _N_BINS + 1)[1:-1]))
    shares = []
    for values in (before, now):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        # half a value in each bin: an empty one would make the index infinite
        shares.append((counts + 0.5) / (len(values) + 0.5 * len(counts)))
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))
