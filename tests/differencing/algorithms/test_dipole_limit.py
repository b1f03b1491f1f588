"""A star counts as a dipole where its displacement is significant at 5 sigma, and only there."""

from __future__ import annotations

import numpy as np

from differencing.algorithms.subtract import SubtractionConfig, subtract
from tests.detection.algorithms.difference_sky import moffat
from tests.differencing.algorithms.star_grid import FWHM, make_grid

SHIFT = 0.06
N_SIDE = 12


def share_of_dipoles(significance: float) -> float:
    """Share counted of stars displaced by 0.06 pix, each in its own direction."""
    psf = moffat(fwhm=FWHM, size=21).astype(float)
    step = 0.05
    slope = (moffat(-step, fwhm=FWHM, size=21) - moffat(step, fwhm=FWHM, size=21)) / (2 * step)
    # the position error of a star of S/N q is |P| / (q |dP/dx|)
    snr = (
        significance / SHIFT * np.sqrt(np.square(psf).sum() / np.square(slope.astype(float)).sum())
    )
    angle = np.random.default_rng(5).uniform(0.0, 2.0 * np.pi, N_SIDE**2)
    shift = SHIFT * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    grid = make_grid(snr=float(snr), n_side=N_SIDE, shift=shift)
    config = SubtractionConfig(method="zogy")
    result = subtract(grid.template, grid.science, stars=grid.stars, config=config)
    assert result.metrics["n_residual_stars"] == N_SIDE**2
    return float(result.metrics["dipole_fraction"])


def test_displacements_of_3_sigma_are_no_dipoles() -> None:
    # noise of 1 sigma per axis lifts one in 25 above 5: 6 of 144, with a scatter of 2.4
    assert share_of_dipoles(3.0) < 0.11


def test_displacements_of_8_sigma_are_dipoles() -> None:
    # one in 700 falls below 5; the slope is known to a tenth, and then it is one in 70
    assert share_of_dipoles(8.0) > 0.93
