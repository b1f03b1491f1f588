"""The classic kernel of Gaussians, against kernels that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from differencing.algorithms.alard_lupton import DEGREES, gaussian_basis
from differencing.algorithms.subtract import SubtractionConfig, subtract
from preprocessing.algorithms.stars import find_stars

SPARSE = PairConfig(seed=2, shape=(512, 512), star_density_per_mpix=700)
CLASSIC = SubtractionConfig(method="alard_lupton")


def test_one_function_holds_the_flux_and_the_others_none() -> None:
    basis = gaussian_basis(8, sigma_pix=1.5)
    assert basis.shape == (sum((n + 1) * (n + 2) // 2 for n in DEGREES), 17 * 17)
    assert basis[0].sum() == pytest.approx(1.0)
    assert np.abs(basis[1:].sum(axis=1)).max() < 1e-12
    assert np.linalg.norm(basis[1:], axis=1) == pytest.approx(np.ones(48))


def test_the_basis_holds_a_shift_and_a_blur_that_is_not_round() -> None:
    basis = gaussian_basis(8, sigma_pix=1.5)
    offset = np.arange(-8, 9)
    y, x = np.meshgrid(offset, offset, indexing="ij")
    kernel = np.exp(-0.5 * ((x - 0.4) ** 2 / 1.3**2 + (y + 0.2) ** 2 / 1.9**2))
    kernel /= kernel.sum()
    solution, *_ = np.linalg.lstsq(basis.T, kernel.ravel(), rcond=None)
    left = np.abs(basis.T @ solution - kernel.ravel()).max()
    # 49 functions leave less than 1 % of the peak
    assert left < 0.01 * kernel.max()
    # only the first function has a sum; what the others leave of the kernel has next to none
    assert solution[0] == pytest.approx(kernel.sum(), abs=1e-3)
    assert np.abs(basis[1:].sum(axis=1)).max() < 1e-6


@pytest.mark.parametrize(
    "config",
    [
        SPARSE,
        replace(SPARSE, psf_variation=0.15, star_density_per_mpix=2500),
        replace(SPARSE, flux_ratio=0.3, reference_fwhm_pix=2.3),
    ],
)
def test_it_matches_images_whose_psfs_differ(config: PairConfig) -> None:
    pair = simulate_pair(config)
    science, template = pair.calibrated_science(), pair.calibrated_reference()
    made = subtract(template, science, stars=find_stars(science), config=CLASSIC)
    assert made.method == "alard_lupton"
    assert made.metrics["kernel_direction"] == "template"
    assert made.metrics["flux_ratio"] == pytest.approx(config.flux_ratio, rel=0.02)
    # the stars' own noise leaves 1; the classic basis is known to leave up to a third more
    assert float(made.metrics["chi2_stars_median"] or 0) < 1.35
    assert made.metrics["pull_width_propagated"] == pytest.approx(1.0, abs=0.02)
    assert made.quality == "pass"


def test_a_kernel_that_varies_is_found_to_vary() -> None:
    pair = simulate_pair(replace(SPARSE, psf_variation=0.2, star_density_per_mpix=2500))
    science, template = pair.calibrated_science(), pair.calibrated_reference()
    stars = find_stars(science)
    chosen = subtract(template, science, stars=stars, config=CLASSIC).metrics
    fixed = subtract(
        template, science, stars=stars, config=replace(CLASSIC, spatial_order=0)
    ).metrics
    assert int(chosen["kernel_order"] or 0) >= 1
    assert fixed["kernel_order"] == 0
    assert float(chosen["kernel_chi2"] or 0) < float(fixed["kernel_chi2"] or 0)


def test_with_too_few_stars_it_says_how_many() -> None:
    pair = simulate_pair(SPARSE)
    science = pair.calibrated_science()
    stars = find_stars(science)
    few = stars.select(np.flatnonzero(stars.is_star)[:3])
    with pytest.raises(AlgorithmError, match="only 3 usable stars") as caught:
        subtract(pair.calibrated_reference(), science, stars=few, config=CLASSIC)
    assert caught.value.numbers == {"n_stars": 3, "n_required": 5}
