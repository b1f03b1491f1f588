"""Numbers for the eye: what the truth gives, they give."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.display import MISSING_COLOUR, render_montage_png
from astrid_site.imaging.inspection import (
    HISTOGRAM_REACH,
    HISTOGRAM_STEP,
    count_planes,
    grid_positions,
    psf_widths,
    residuals_at_stars,
    score_histogram,
)
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.psf import constant_psf
from tests.imaging.test_display import decode

SHAPE = (512, 640)


def gaussian(fwhm: float, half: int = 10) -> np.ndarray:
    reach = np.arange(-half, half + 1)
    return np.exp(-(reach[:, None] ** 2 + reach[None, :] ** 2) * 4 * np.log(2) / fwhm**2)


def test_planes_are_counted_by_their_names() -> None:
    mask = np.zeros((10, 10), np.uint16)
    mask[0, :4] = MaskPlane.SATURATED
    mask[0, 2] |= MaskPlane.COSMIC_RAY
    found = count_planes(mask)
    assert found["SATURATED"] == 4
    assert found["COSMIC_RAY"] == 1
    assert sum(found.values()) == 5
    assert set(found) == {plane.name for plane in MaskPlane}


def test_normal_scores_give_a_normal_histogram() -> None:
    rng = np.random.default_rng(4)
    score = rng.normal(0, 1, SHAPE).astype(np.float32)
    template = rng.normal(0, 5, SHAPE).astype(np.float32)
    found = score_histogram(score, template, mask=np.zeros(SHAPE, np.uint16), fwhm_pix=3.0)
    assert found is not None
    n = found.counts.sum()
    # pixels of a template's own 3-sigma peaks are left out: 0.27 % of them
    assert 0.99 < n / score.size < 1
    # the width of n normal values is known to 1.17 / sqrt(2 n): five of these
    assert found.width == pytest.approx(1.0, abs=5 * 1.17 / np.sqrt(2 * n))
    middle = int(HISTOGRAM_REACH / HISTOGRAM_STEP)
    assert found.counts[middle] == pytest.approx(0.0987 * n, rel=0.03)
    assert (found.n_below, found.n_above) == (0, 0)


def test_stars_and_masked_pixels_do_not_count() -> None:
    rng = np.random.default_rng(5)
    score = rng.normal(0, 1, SHAPE).astype(np.float32)
    template = rng.normal(0, 5, SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE, np.uint16)
    for y, x in rng.integers(20, 480, (40, 2)):
        box = (slice(y - 10, y + 11), slice(x - 10, x + 11))
        template[box] += 20_000 * gaussian(3.0)
        score[y - 2 : y + 3, x - 2 : x + 3] += 30
    mask[:, 600:] = MaskPlane.EDGE
    score[:, 600:] = 50
    found = score_histogram(score, template, mask=mask, fwhm_pix=3.0)
    assert found is not None
    assert found.n_above == 0
    assert found.counts.sum() < 512 * 600


def test_scores_beyond_the_bins_are_counted_apart() -> None:
    rng = np.random.default_rng(6)
    score = rng.normal(0, 1, SHAPE).astype(np.float32)
    score[100, 100:107], score[200, 200:203] = 8, -6.5
    score[300, 300] = HISTOGRAM_REACH
    found = score_histogram(score, score * 0, mask=np.zeros(SHAPE, np.uint16), fwhm_pix=3.0)
    assert found is None, "a template without noise has no blank sky"
    template = rng.normal(0, 5, SHAPE).astype(np.float32)
    told = score_histogram(score, template, mask=np.zeros(SHAPE, np.uint16), fwhm_pix=3.0)
    assert told is not None
    assert (told.n_below, told.n_above) == (3, 8)
    assert told.as_json()["n_above"] == 8


def test_a_large_frame_is_sampled_from_edge_to_edge() -> None:
    rng = np.random.default_rng(7)
    score = rng.normal(0, 1, (4000, 1000)).astype(np.float32)
    score[2000:] *= 3
    template = rng.normal(0, 5, score.shape).astype(np.float32)
    found = score_histogram(score, template, mask=np.zeros(score.shape, np.uint16), fwhm_pix=3.0)
    assert found is not None
    assert 800_000 < found.counts.sum() + found.n_above + found.n_below < 1_100_000
    assert 1.2 < found.width < 2.5


def test_a_wholly_masked_frame_has_no_histogram() -> None:
    score = np.ones(SHAPE, np.float32)
    mask = np.full(SHAPE, MaskPlane.NO_DATA, np.uint16)
    assert score_histogram(score, score, mask=mask, fwhm_pix=3.0) is None


def test_residuals_of_noise_are_one_and_of_a_mismatch_what_it_leaves() -> None:
    rng = np.random.default_rng(8)
    variance = np.full(SHAPE, 25.0, np.float32)
    difference = rng.normal(0, 5, SHAPE).astype(np.float32)
    x, y = (
        part.ravel() for part in np.meshgrid(np.arange(20.0, 620, 30), np.arange(20.0, 500, 30))
    )
    difference[int(y[3]), int(x[3])] += 5 * np.sqrt(49 * 2.0)
    mask = np.zeros(SHAPE, np.uint16)
    mask[int(y[5]) + 2, int(x[5])] = MaskPlane.COSMIC_RAY
    snr = np.full(len(x), 100.0)
    snr[7] = 49.0
    found = residuals_at_stars(difference, variance, mask=mask, x=x, y=y, snr=snr)
    places = set(zip(found.x, found.y, strict=True))
    assert (x[5], y[5]) not in places
    assert (x[7], y[7]) not in places
    odd = (found.x == x[3]) & (found.y == y[3])
    # 49 pixels within the radius: chi2 is known to sqrt(2 / 49) for one star
    assert found.chi2[~odd].mean() == pytest.approx(1.0, abs=5 * np.sqrt(2 / 49 / len(found.x)))
    assert found.chi2[odd][0] == pytest.approx(3.0, abs=2.5)


def test_the_brightest_stars_come_first_and_the_edge_is_left_out() -> None:
    variance, mask = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.uint16)
    x, y = np.array([2.0, 100.0, 200.0, 637.5]), np.array([100.0, 100.0, 100.0, 100.0])
    found = residuals_at_stars(
        variance * 0, variance, mask=mask, x=x, y=y, snr=np.array([900.0, 60, 70, 800]), max_stars=2
    )
    assert found.x.tolist() == [200.0, 100.0]
    assert found.chi2.tolist() == [0.0, 0.0]


def test_widths_of_a_psf_are_measured_over_the_frame() -> None:
    psf = constant_psf(gaussian(4.0).astype(np.float32), shape=SHAPE)
    assert psf_widths(psf) == pytest.approx([4.0] * 9, rel=0.02)
    x, y = grid_positions((30, 60))
    assert x[:3].tolist() == [9.5, 29.5, 49.5]
    assert y[::3].tolist() == [4.5, 14.5, 24.5]


def test_a_montage_lies_as_on_the_frame() -> None:
    images = np.zeros((4, 3, 3), np.float32)
    images[1, 1, 1] = 1.0  # lower right
    shown = decode(render_montage_png(images, columns=2, stretch="linear", colormap="gray", zoom=1))
    assert shown.shape == (7, 7, 3)
    assert [int(part) for part in np.argwhere(shown[..., 0] == 255)[0]] == [5, 5]
    assert not (shown == MISSING_COLOUR).all(axis=-1).any()
    signed = decode(render_montage_png(images - 0.0, columns=2, is_signed=True, zoom=2))
    assert signed.shape == (14, 14, 3)
    with pytest.raises(ValueError, match="rows of 3"):
        render_montage_png(images, columns=3)
