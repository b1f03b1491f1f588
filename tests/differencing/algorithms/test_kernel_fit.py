"""The kernel fitted to noisy stars, against the one that made them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from differencing.algorithms.kernel_equations import StampPlanes
from differencing.algorithms.psf_matching import KernelField, fit_kernel
from differencing.algorithms.stamps import StarPositions

SIDE = 400
FLUX = 900.0


def gaussian(sigma: float, half: int) -> NDArray[np.float64]:
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    image = np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    return np.asarray(image / image.sum())


def draw_stars(rng: np.random.Generator) -> tuple[NDArray[np.float64], StarPositions]:
    """64 stars of sigma 1 on a grid."""
    y, x = (axis.ravel() for axis in np.mgrid[25:SIDE:50, 25:SIDE:50])
    points = np.zeros((SIDE, SIDE))
    points[y, x] = FLUX * rng.uniform(0.7, 1.3, x.size)
    return fftconvolve(points, gaussian(1.0, 10), mode="same"), StarPositions(x=x, y=y)


def fit(
    moving: NDArray[np.float64],
    fixed: NDArray[np.float64],
    stars: StarPositions,
    *,
    noise: tuple[float, float],
    order: int = 0,
    expected: NDArray[np.float64] | None = None,
) -> KernelField:
    planes = StampPlanes(
        fixed=torch.from_numpy(fixed.astype(np.float32)),
        moving=torch.from_numpy(moving.astype(np.float32)),
        fixed_variance=torch.full((SIDE, SIDE), noise[0] ** 2),
        moving_variance=torch.full((SIDE, SIDE), noise[1] ** 2),
        bad=torch.zeros((SIDE, SIDE)),
    )
    return fit_kernel(
        planes,
        stars,
        kernel_half_width=6,
        stamp_half_width=12,
        spatial_order=order,
        expected=(gaussian(1.2, 6)[None] if expected is None else expected).astype(np.float32),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_of_the_sharper_image_does_not_shrink_the_kernel(seed: int) -> None:
    """Each star has S/N 25 in the noisy image; together they tell the flux ratio to 0.5 %."""
    rng = np.random.default_rng(seed)
    light, stars = draw_stars(rng)
    fixed = fftconvolve(light, gaussian(1.2, 8), mode="same") + rng.normal(0, 2.0, light.shape)
    moving = light + rng.normal(0, 10.0, light.shape)
    kernel = fit(moving, fixed, stars, noise=(2.0, 10.0))
    # without the correction the sum comes out near 0.65
    assert kernel.term_sums[0] == pytest.approx(1.0, abs=0.025)


def test_a_frame_fitted_to_itself_is_matched_by_itself() -> None:
    rng = np.random.default_rng(4)
    light, stars = draw_stars(rng)
    frame = light + rng.normal(0, 10.0, light.shape)
    kernel = fit(frame, frame, stars, noise=(10.0, 10.0))
    image = kernel.coefficients[0]
    assert image[6, 6] == pytest.approx(1.0, abs=0.02)
    assert image.sum() == pytest.approx(1.0, abs=0.02)


def test_a_variation_that_only_noisy_psfs_claim_does_not_enter_the_kernel() -> None:
    """The PSFs claim a bump that comes and goes across the frame; the stars have none.

    It is 5 % of a star's light, and 64 stars of S/N 130 tell it to a thousandth.
    """
    rng = np.random.default_rng(5)
    light, stars = draw_stars(rng)
    fixed = fftconvolve(light, gaussian(1.2, 8), mode="same") + rng.normal(0, 2.0, light.shape)
    moving = light + rng.normal(0, 2.0, light.shape)
    bump = 0.05 * np.roll(gaussian(1.2, 6), 4, axis=1)
    expected = np.stack([gaussian(1.2, 6), bump, 0 * bump])
    kernel = fit(moving, fixed, stars, noise=(2.0, 2.0), order=1, expected=expected)
    right, left = kernel.at(np.array([370.0, 30.0]), np.array([200.0, 200.0]))
    # with one amplitude for kernel and variation, 1.1 of it came through
    assert abs(float(((right - left) * bump).sum() / (bump**2).sum())) < 0.1
