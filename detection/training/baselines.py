"""Scores that need no training, to stand beside those that did: S/N, sharpness, dipole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detection.training.triplet_dataset import Prepared

Values = NDArray[np.float64]

_CORE, _RING = 3.0, 6.0


def baseline_scores(samples: Prepared) -> dict[str, Values]:
    """Baselines of prepared samples; higher means more likely real.

    Parameters
    ----------
    samples : Prepared
        Their difference planes are in units of their own noise, the middle positive.

    Returns
    -------
    dict of NDArray[float64], each of shape (n,)
        ``snr``: flux within 3 pixels over its noise; ``sharpness``: how little of that flux is in
        one pixel; ``dipole``: how little within 6 pixels is negative. NaN where the middle of the
        difference is missing.
    """
    difference = np.sinh(samples.planes[:, 2].astype(np.float64))
    ny, nx = difference.shape[1:]
    y, x = np.mgrid[:ny, :nx]
    distance = np.hypot(x - nx // 2, y - ny // 2)
    core = difference[:, distance <= _CORE]
    wide = difference[:, distance <= _RING]
    n_core = np.isfinite(core).sum(axis=1)
    known = n_core > core.shape[1] / 2
    core, wide = np.nan_to_num(core), np.nan_to_num(wide)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = {
            "snr": core.sum(axis=1) / np.sqrt(n_core),
            "sharpness": -core.max(axis=1) / np.abs(core).sum(axis=1),
            "dipole": -np.clip(-wide - 1.0, 0.0, None).sum(axis=1) / np.abs(wide).sum(axis=1),
        }
    return {name: np.where(known, values, np.nan) for name, values in scores.items()}
