"""Images of which each is the sharper one in some direction, matched where their noise is white."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from astrid_site.imaging.image import Image
from astrid_site.imaging.psf import constant_psf
from differencing.algorithms.cross_planes import cross_planes
from differencing.algorithms.expected_kernel import expected_kernel
from differencing.algorithms.kernel_solver import noise_correlation
from differencing.algorithms.pair import Pair, prepare_pair
from differencing.algorithms.stamps import StarPositions
from differencing.algorithms.subtract import SubtractionConfig, subtract

SHAPE = (320, 320)
FLUX, SKY = 60_000.0, 100.0
X, Y = (g.ravel() for g in np.meshgrid(np.arange(32.0, 300.0, 32.0), np.arange(32.0, 300.0, 32.0)))


def gaussian(along_x: float, along_y: float, size: int = 25) -> np.ndarray:
    offset = np.arange(size) - size // 2
    image = np.exp(-0.5 * ((offset[None, :] / along_x) ** 2 + (offset[:, None] / along_y) ** 2))
    return (image / image.sum()).astype(np.float32)


def frame(psf: np.ndarray, flux: float, seed: int) -> Image:
    """Stars on a sky of counted photons."""
    rng = np.random.default_rng(seed)
    data = np.zeros(SHAPE)
    for x, y in zip(X.astype(int), Y.astype(int), strict=True):
        data[y - 12 : y + 13, x - 12 : x + 13] += flux * psf
    variance = (SKY + data).astype(np.float32)
    noisy = data + rng.normal(0.0, np.sqrt(variance))
    return Image(
        data=noisy.astype(np.float32),
        mask=np.zeros(SHAPE, dtype=np.uint16),
        variance=variance,
        psf=constant_psf(psf, shape=SHAPE, n_stars=len(X)),
    )


def images() -> tuple[Image, Image]:
    """Template and science image, the one long along x, the other along y."""
    return frame(gaussian(1.6, 1.1), 2.0 * FLUX, 1), frame(gaussian(1.1, 1.6), FLUX, 2)


def pair() -> Pair:
    template, science = images()
    return prepare_pair(template, science, halo_growth=1.0)


class KnownStars(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    flux_error: np.ndarray
    is_star: np.ndarray


STARS = KnownStars(X, Y, np.full(len(X), FLUX), np.full(len(X), 300.0), np.ones(len(X), dtype=bool))


def test_the_images_convolved_with_each_others_psf_are_alike_and_their_noise_is_whiter() -> None:
    made = pair()
    science, template, _ = cross_planes(made, StarPositions(x=X.astype(int), y=Y.astype(int)))
    left = science[0] - 0.5 * template[0]
    # a star's photons scatter its peak by 1.5 %, the worst pixel of 81 stars by some 3 times that
    assert np.abs(left).max() < 0.05 * science[0].max()
    rows = left[2:16, 2:-2]
    lag = float(np.corrcoef(rows[:, :-1].ravel(), rows[:, 1:].ravel())[0, 1])
    # where neither of two Gaussians has power, nothing is lifted; behind the PSFs alone it is 0.9
    assert lag < 0.6


def test_the_correlation_said_of_the_convolved_template_is_the_one_it_has() -> None:
    template, science = images()
    empty = Image(
        data=np.random.default_rng(3).normal(0.0, 10.0, SHAPE).astype(np.float32),
        mask=np.zeros(SHAPE, dtype=np.uint16),
        variance=np.full(SHAPE, 100.0, dtype=np.float32),
        psf=template.psf,
    )
    noise = prepare_pair(empty, science, halo_growth=1.0)
    none = StarPositions(x=X[:0].astype(int), y=Y[:0].astype(int))
    _, (values, _), correlation = cross_planes(noise, none)
    inner = values[20:-20, 20:-20]
    middle = correlation.shape[0] // 2
    for dy, dx in ((0, 1), (1, 0), (2, 1)):
        first = inner[: inner.shape[0] - dy, : inner.shape[1] - dx]
        found = float(np.mean(first * inner[dy:, dx:]) / np.mean(inner**2))
        # 78,000 pixels, a tenth of them independent, tell it to 0.01
        assert found == pytest.approx(float(correlation[middle + dy, middle + dx]), abs=0.03)


def test_stars_leave_no_more_than_their_noise() -> None:
    template, science = images()
    made = subtract(template, science, stars=STARS, config=SubtractionConfig(method="kernel"))
    assert made.method == "kernel/cross"
    # 81 stars of S/N 200; the kernel is fitted to them, which leaves a few per cent less
    assert made.metrics["chi2_stars_median"] == pytest.approx(1.0, abs=0.15)
    assert float(made.metrics["chi2_stars_p90"] or 0.0) < 1.5
    assert made.metrics["pull_width_propagated"] == pytest.approx(1.0, abs=0.03)


def test_what_hardly_tells_two_images_apart_is_expected_to_leave_them_alike() -> None:
    template, science = images()
    assert science.psf is not None
    assert template.psf is not None
    kernel = expected_kernel(science.psf, template.psf, direction="cross", half_width=5, order=0)
    one = np.zeros((11, 11))
    one[5, 5] = 1.0
    assert kernel[0] == pytest.approx(one, abs=1e-4)


def test_noise_that_a_kernel_meets_is_correlated_by_the_lag_of_its_pixels() -> None:
    known = np.array([[0.1, 0.2, 0.1], [0.3, 1.0, 0.3], [0.1, 0.2, 0.1]], dtype=np.float32)
    matrix = noise_correlation(known, 2, device="cpu").numpy().reshape(5, 5, 5, 5)
    assert np.diag(matrix.reshape(25, 25)) == pytest.approx(np.ones(25))
    assert matrix[2, 2, 2, 3] == pytest.approx(0.3)
    assert matrix[2, 2, 1, 2] == pytest.approx(0.2)
    assert matrix[2, 2, 3, 1] == pytest.approx(0.1)
    assert matrix[0, 0, 0, 2] == 0.0
    assert np.array_equal(noise_correlation(None, 1, device="cpu").numpy(), np.eye(9))
