"""Flux errors are those of the noise that the difference has, not of the noise it claims."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detection.algorithms.candidates import find_candidates
from detection.algorithms.measurement import Measurement, measure
from tests.detection.algorithms.difference_sky import Stars, make_images, make_sky, moffat

GRID = [(x + 0.3, y - 0.2) for x in range(40, 380, 34) for y in range(40, 380, 34)]
SNR = 20.0


def measure_with_claim(share: float) -> list[Measurement]:
    """Sources of S/N 20 in noise of 10, of which the variance claims a share."""
    sky = make_sky([(x, y, SNR) for x, y in GRID], shape=(400, 400), seed=6)
    sky = replace(sky, variance=(share**2 * sky.variance).astype(np.float32))
    return measure(sky, *make_images(sky), find_candidates(sky), stars=Stars())


@pytest.mark.parametrize("share", [0.5, 1.0, 2.0])
def test_the_error_is_the_scatter_whatever_the_variance_claims(share: float) -> None:
    measured = measure_with_claim(share)
    assert len(measured) == len(GRID)
    one_sigma = 10.0 / float(np.sqrt(np.square(moffat()).sum()))
    # the width of the fluxes on blank sky, of which the frame has 1 000 independent: 4 %
    assert np.median([m.flux_error for m in measured]) == pytest.approx(one_sigma, rel=0.12)
    pulls = [(m.flux - SNR * one_sigma) / m.flux_error for m in measured]
    # the scatter of 100 fluxes is known to 7 %
    assert np.std(pulls) == pytest.approx(1.0, abs=0.28)
    assert np.median([m.snr for m in measured]) == pytest.approx(SNR, rel=0.12)
