"""Ratio of the fluxes of the same stars in two frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.algorithms.stars import StarList

Float64 = NDArray[np.float64]

# stars of one frame agree no better than this: flat fields, colour terms, PSF errors
_INTRINSIC = 0.005


@dataclass(frozen=True)
class FluxRatio:
    """Science over reference flux, its standard error, and the stars it rests on.

    ``n_clean`` of the ``n_stars`` are clean stars in both frames; the others may be galaxies.
    """

    value: float | None
    error: float | None
    n_stars: int
    n_clean: int = 0


def fit_flux_ratio(science: StarList, reference: StarList) -> FluxRatio:
    """Robust ratio of the fluxes of matched stars, each pair weighted by its error.

    Parameters
    ----------
    science, reference : StarList
        Matched stars, same order.

    Returns
    -------
    FluxRatio
        ``value`` is None where no pair has two positive fluxes.

    Notes
    -----
    The median starts a clipped weighted mean of the logarithms, so a few variable or
    blended stars do not pull it. A ratio of background-subtracted pixel medians would be a ratio
    of noise.
    """
    usable = (science.flux > 0) & (reference.flux > 0)
    usable &= (science.snr > 5.0) & (reference.snr > 5.0)
    both = usable & science.is_star & reference.is_star
    chosen = both if both.sum() >= 3 else usable
    if not chosen.any():
        return FluxRatio(None, None, 0)
    ratio = np.log(science.flux[chosen] / reference.flux[chosen])
    error = np.hypot(1.0 / science.snr[chosen], 1.0 / reference.snr[chosen])
    error = np.hypot(error, _INTRINSIC)
    kept = np.ones(ratio.size, dtype=np.bool_)
    # one star, one vote: a few bright variables must not outweigh the rest
    precise = error <= max(0.05, float(np.median(error)))
    centre = float(np.median(ratio[precise]))
    for _ in range(5):
        scaled = np.abs(ratio - centre) / error
        # the spread of the pulls themselves tells how much the stars scatter beyond their errors
        spread = max(1.0, 1.4826 * float(np.median(scaled[kept])))
        kept = scaled < 3.0 * spread
        weight = error[kept] ** -2
        centre = float((weight * ratio[kept]).sum() / weight.sum())
    value = float(np.exp(centre))
    return FluxRatio(
        value,
        value * spread / float(np.sqrt(weight.sum())),
        n_stars=int(kept.sum()),
        n_clean=int(both[chosen][kept].sum()),
    )
