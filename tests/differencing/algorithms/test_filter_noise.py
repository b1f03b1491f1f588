"""The noise of a difference is white and what is said of it, whatever its two images have."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.image import Image
from astrid_site.imaging.psf import PsfField, constant_psf
from differencing.algorithms.direction import choose_direction
from differencing.algorithms.expected_kernel import expected_kernel
from differencing.algorithms.kernel_filters import KernelMatching
from differencing.algorithms.pair import Pair, prepare_pair
from differencing.algorithms.psf_matching import KernelField
from differencing.algorithms.score import NoiseTruth, blank_sky, measure_noise
from differencing.algorithms.tiles import Filtered, Matching, filter_pair
from differencing.algorithms.zogy import ZogyMatching
from preprocessing.algorithms.plane_map import affine_map
from preprocessing.algorithms.registration import Registration
from preprocessing.algorithms.warp import warp

SHAPE = (400, 400)


def gaussian(sigma: float, size: int = 25) -> np.ndarray:
    offset = np.arange(size) - size // 2
    image = np.exp(-0.5 * (offset[:, None] ** 2 + offset[None, :] ** 2) / sigma**2)
    return (image / image.sum()).astype(np.float32)


def noise_frame(sigma: float, psf: PsfField, seed: int, shape: tuple[int, int] = SHAPE) -> Image:
    data = np.random.default_rng(seed).normal(0.0, sigma, shape).astype(np.float32)
    variance = np.full(shape, sigma**2, dtype=np.float32)
    return Image(data=data, mask=np.zeros(shape, dtype=np.uint16), variance=variance, psf=psf)


def psf_of(sigma: float) -> PsfField:
    return constant_psf(gaussian(sigma), shape=SHAPE, n_stars=50)


def measured(pair: Pair, matching: Matching) -> NoiseTruth:
    filtered: Filtered = filter_pair(pair, matching, device="cpu", threads=1)
    return measure_noise(filtered, blank_sky(filtered))


def resampled(width: float, sigma: float, seed: int) -> Image:
    """A template of white noise whose pixels were ``width`` science pixels wide, with its PSF."""
    matrix = np.array([[1.0, 0.0037], [-0.0037, 1.0]]) / width
    step = affine_map(matrix, np.array([21.3, 20.6]), shape=SHAPE)
    side = round(SHAPE[0] / width) + 50
    frame = noise_frame(sigma, psf_of(1.6), seed, (side, side)).with_(psf=None)
    placed = Registration((step,), 10, 0.01, None, "stars", 1.0, 0.01, 1.0)
    return warp(frame, placed, shape=SHAPE).with_(psf=psf_of(1.6))


@pytest.mark.parametrize("flux_ratio", [1.0 / 3.0, 3.0])
def test_zogy_whitens_by_the_noise_of_the_scaled_template(flux_ratio: float) -> None:
    # the template's noise counts with the square of the factor that brings it to science units
    science, template = noise_frame(10.0, psf_of(1.1), 1), noise_frame(10.0, psf_of(0.8), 2)
    pair = prepare_pair(template, science, halo_growth=1.0)
    found = measured(pair, ZogyMatching(flux_ratio, pair.science_psf, pair.template_psf))
    # 150 000 pixels tell the width to 0.3 % and a correlation to 0.003; with the ratio itself in
    # place of its square neighbours are correlated by -0.02 and 0.15
    assert found.pull_width == pytest.approx(1.0, abs=0.02)
    assert abs(found.lag1) < 0.015


def kernel_matching(sigma: float) -> KernelMatching:
    """A known kernel that convolves the science image."""
    field = KernelField(gaussian(sigma, 17)[None], 0, SHAPE, 1.0, 50, 0, 1.0)
    return KernelMatching(field, "science", psf_of(1.2), psf_of(1.6))


def test_a_template_resampled_at_its_own_scale_leaves_a_white_difference() -> None:
    template, science = resampled(1.0, 8.0, 3), noise_frame(10.0, psf_of(1.2), 4)
    pair = prepare_pair(template, science, halo_growth=1.0)
    found = measured(pair, kernel_matching(1.06))
    assert found.pull_width == pytest.approx(1.0, abs=0.03)
    assert found.score_width == pytest.approx(1.0, abs=0.03)
    # over so small a frame not all phases of the two grids occur alike; taken as white the noise
    # leaves a correlation of 0.13, and a score 6 % too wide
    assert abs(found.lag1) < 0.04


def test_the_noise_of_a_template_from_coarser_pixels_is_what_is_said_of_it() -> None:
    template, science = resampled(2.0, 16.0, 5), noise_frame(10.0, psf_of(1.2), 6)
    pair = prepare_pair(template, science, halo_growth=1.0)
    assert pair.lacks_frequencies
    found = measured(pair, kernel_matching(1.06))
    # resampled noise keeps a trace of the coarser grid, which a mean correlation does not tell
    assert found.pull_width == pytest.approx(1.0, abs=0.05)
    assert found.score_width == pytest.approx(1.0, abs=0.05)


def test_a_template_of_pixels_as_wide_or_never_resampled_lacks_nothing() -> None:
    science = noise_frame(10.0, psf_of(1.2), 7)
    for template in (resampled(1.0, 8.0, 8), noise_frame(8.0, psf_of(1.6), 9)):
        assert not prepare_pair(template, science, halo_growth=1.0).lacks_frequencies


def test_a_template_from_coarser_pixels_that_is_sharpened_leaves_a_white_difference() -> None:
    template, science = resampled(2.0, 16.0, 5), noise_frame(10.0, psf_of(1.2), 6)
    pair = prepare_pair(template, science, halo_growth=1.0)
    kernel = expected_kernel(
        pair.science_psf, pair.template_psf, direction="template", half_width=9, order=0
    )
    field = KernelField(kernel, 0, SHAPE, 1.0, 50, 0, 1.0)
    found = measured(pair, KernelMatching(field, "template", psf_of(1.2), psf_of(1.6)))
    assert found.pull_width == pytest.approx(1.0, abs=0.02)
    assert found.score_width == pytest.approx(1.0, abs=0.03)
    # smoothing the science image in its place leaves 0.3: then both lack the finest frequencies
    assert abs(found.lag1) < 0.02


def test_a_template_of_coarser_pixels_is_sharpened_unless_it_is_far_broader() -> None:
    science, near, far = psf_of(1.2), psf_of(1.5), psf_of(2.0)
    assert choose_direction(science, near).direction == "science"
    chosen = choose_direction(science, near, lacks_frequencies=True)
    assert chosen.direction == "template"
    assert "coarser" in chosen.reason
    assert choose_direction(science, far, lacks_frequencies=True).direction == "science"


def test_undersampled_images_are_both_convolved_only_if_neither_was_resampled() -> None:
    science, template = psf_of(0.8), psf_of(0.7)
    assert choose_direction(science, template).direction == "cross"
    # the stars of a resampled one are drawn by their profile, whatever the phase of the pixels
    assert choose_direction(science, template, is_resampled=True).direction == "template"
