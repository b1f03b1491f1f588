"""ZOGY brings the template to the science image's fluxes before it takes it away."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.photometry import forced_photometry
from differencing.algorithms.subtract import SubtractionConfig, subtract
from tests.differencing.algorithms.star_grid import (
    STEP,
    flux_of,
    largest_at_stars,
    make_grid,
)

SNR = 30.0


@pytest.mark.parametrize("flux_ratio", [1.0 / 3.0, 3.0])
def test_sources_on_stars_have_their_flux_whatever_the_template_s_scale(flux_ratio: float) -> None:
    flux = flux_of(SNR)
    # some exactly on stars, some between them
    places = [STEP * (k + 1.0 + 0.5 * (k % 2)) for k in range(1, 9)]
    new = tuple((place, 11 * STEP - place, flux) for place in places)
    grid = make_grid(snr=300.0, n_side=10, flux_ratio=flux_ratio, new=new, seed=3)
    config = SubtractionConfig(method="zogy")
    result = subtract(grid.template, grid.science, stars=grid.stars, config=config)
    # 100 stars of S/N 300 tell the ratio to 0.03 %, of which new sources on four take little
    assert result.metrics["flux_ratio"] == pytest.approx(flux_ratio, rel=0.01)
    fits = [
        forced_photometry(
            result.difference, result.variance, result.psf, mask=result.mask, x=x, y=y
        )
        for x, y, _ in new
    ]
    # a source's own S/N is 30: one is known to 3.3 %, the mean of eight to 1.2 %
    measured = np.array([fit.flux for fit in fits if fit is not None])
    assert len(measured) == len(new)
    assert np.abs(measured / flux - 1.0).max() < 4.0 / SNR
    assert measured.mean() / flux == pytest.approx(1.0, abs=4.0 / SNR / np.sqrt(len(new)))
    # without model error the error is that of the sky; on a star it is more
    errors = np.array([fit.flux_error for fit in fits if fit is not None])
    assert errors.min() == pytest.approx(flux / SNR, rel=0.1)


@pytest.mark.parametrize("flux_ratio", [1.0 / 3.0, 3.0])
def test_stars_vanish_whatever_the_template_s_scale(flux_ratio: float) -> None:
    grid = make_grid(snr=300.0, n_side=8, flux_ratio=flux_ratio, seed=4)
    config = SubtractionConfig(method="zogy")
    result = subtract(grid.template, grid.science, stars=grid.stars, config=config)
    # chi2 of 49 pixels in 64 stars scatters by 2 % about 1
    assert float(result.metrics["chi2_stars_median"]) == pytest.approx(1.0, abs=0.15)
    assert largest_at_stars(result.score, grid.stars).max() < 5.0
