"""How faint a new source a difference shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astrid_site.imaging.masks import is_bad

if TYPE_CHECKING:
    from differencing.algorithms.subtraction import Subtraction

# pixels of each side that the noise is read from: as many as tell it to a thousandth
_SAMPLED = 700


def describe_depth(subtraction: Subtraction, zero_point: float | None) -> dict[str, float | None]:
    """Flux [science units] and AB magnitude of a new source of 5 sigma on blank sky; None unknown.

    The noise is the one measured on the difference itself; half of the frame is deeper.
    """
    from preprocessing.algorithms.quality import measure_depth

    step = max(1, min(subtraction.score.shape) // _SAMPLED)
    part = np.s_[::step, ::step]
    known = ~is_bad(subtraction.mask[part]) & (subtraction.variance[part] > 0)
    variance = subtraction.variance[part][known]
    if variance.size == 0:
        return {"limiting_flux_5sigma": None, "limiting_magnitude": None}
    noise = float(np.sqrt(np.median(variance)))
    depth = measure_depth(subtraction.psf, noise=noise, zero_point=zero_point)
    return {"limiting_flux_5sigma": depth.flux_5sigma, "limiting_magnitude": depth.magnitude}
