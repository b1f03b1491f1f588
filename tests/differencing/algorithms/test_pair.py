"""Holes of a frame: filled from what is around them, and distrusted."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane
from differencing.algorithms.missing_light import fill_missing_light
from differencing.algorithms.pair import cut_stars, interpolate_bad

SHAPE = (90, 120)
FWHM = 3.0


def by_definition(data, bad, *, reach=4):
    """The Gaussian-weighted mean of the good pixels near each bad one, one by one."""
    sigma = 0.6 * FWHM / 2.355
    filled = data.astype(np.float64).copy()
    for row, column in zip(*np.nonzero(bad), strict=True):
        total = weight = 0.0
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                y, x = row + dy, column + dx
                if 0 <= y < SHAPE[0] and 0 <= x < SHAPE[1] and not bad[y, x]:
                    w = np.exp(-0.5 * (dx**2 + dy**2) / sigma**2) + 1e-6
                    total, weight = total + w * data[y, x], weight + w
        filled[row, column] = total / weight if weight > 0 else 0.0
    return filled


@pytest.fixture(scope="module")
def holes():
    rng = np.random.default_rng(1)
    data = rng.normal(50.0, 5.0, SHAPE).astype(np.float32)
    bad = rng.random(SHAPE) < 0.02
    # a column, a saturated core, the frame's corner, and strips' seams
    bad[:, 40] = True
    bad[28:37, 60:69] = True
    bad[:3, :5] = True
    bad[63:65, 90:100] = True
    data[bad] = np.nan
    return data, bad, np.full(SHAPE, 25.0, dtype=np.float32)


def test_a_hole_holds_the_weighted_mean_of_its_surroundings(holes):
    data, bad, variance = holes
    filled, _ = interpolate_bad(data, variance, bad, fwhm_pix=FWHM)
    # the faint floor is left out where the Gaussian holds a tenth of its weight: 81e-6 / 0.1
    assert filled == pytest.approx(by_definition(data, bad), rel=2e-3, abs=0.05)


def test_few_holes_are_filled_with_the_same_mean() -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(50.0, 5.0, SHAPE).astype(np.float32)
    # a strip's seam, the frame's corner and a patch: under 0.5 % of a strip
    bad = np.zeros(SHAPE, dtype=bool)
    bad[31:33, 50] = bad[0, 0] = bad[70:73, 80:83] = True
    expected = by_definition(data, bad)
    data[bad] = np.nan
    filled, spread = interpolate_bad(data, np.ones_like(data), bad, fwhm_pix=FWHM)
    # single precision, and the least weight which only lonely pixels need
    np.testing.assert_allclose(filled, expected, rtol=1e-4)
    np.testing.assert_allclose(spread[bad], 1.0 + (0.3 * expected[bad]) ** 2, rtol=1e-3)
    assert (spread[~bad] == 1.0).all()


def test_good_pixels_are_not_touched(holes):
    data, bad, variance = holes
    filled, spread = interpolate_bad(data, variance, bad, fwhm_pix=FWHM)
    assert (filled[~bad] == data[~bad]).all()
    assert (spread[~bad] == variance[~bad]).all()


def test_a_filled_pixel_is_as_uncertain_as_a_third_of_its_value(holes):
    data, bad, variance = holes
    filled, spread = interpolate_bad(data, variance, bad, fwhm_pix=FWHM)
    assert spread[bad] == pytest.approx(25.0 + (0.3 * filled[bad]) ** 2, rel=1e-5)


def test_where_nothing_is_near_there_is_nothing():
    data = np.full(SHAPE, 7.0, dtype=np.float32)
    bad = np.zeros(SHAPE, dtype=bool)
    bad[20:60, 30:80] = True
    filled, _ = interpolate_bad(data, np.ones(SHAPE, dtype=np.float32), bad, fwhm_pix=FWHM)
    assert filled[40, 55] == 0.0
    assert filled[20, 50] == pytest.approx(7.0, rel=1e-5)


def test_a_frame_without_a_good_pixel_is_zero():
    bad = np.ones(SHAPE, dtype=bool)
    data = np.full(SHAPE, 7.0, dtype=np.float32)
    filled, spread = interpolate_bad(data, data.copy(), bad, fwhm_pix=FWHM)
    assert not filled.any()
    assert (spread == 1.0).all()


def test_a_star_that_the_edge_cuts_takes_its_surroundings_out() -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(0.0, 10.0, (80, 90)).astype(np.float32)
    variance = np.full(data.shape, 100.0, np.float32)
    good = np.zeros(data.shape, dtype=bool)
    assert not cut_stars(data, variance, good, fwhm_pix=3.0).any()
    data[0, 40], data[30, 40], data[79, 0] = 600.0, 600.0, 600.0
    cut = cut_stars(data, variance, good, fwhm_pix=3.0)
    # 50 sigma are 500; the reach is 7.5 pixels
    assert cut[7, 40]
    assert not cut[8, 40]
    assert not cut[25:36, 35:46].any()
    assert cut[79, 7]
    assert cut[72, 0]
    assert cut[:, 60:].sum() == 0
    good[0, 40] = good[79, 0] = True
    assert not cut_stars(data, variance, good, fwhm_pix=3.0).any()


def stars(*, fwhm: float, scale: float) -> np.ndarray:
    """Three stars on sky of unit noise; the middle one lies across row 45."""
    rows, columns = np.indices(SHAPE)
    data = np.random.default_rng(4).normal(0.0, 1.0, SHAPE)
    for x, y in ((20, 20), (60, 42), (100, 70)):
        squares = (columns - x) ** 2 + (rows - y) ** 2
        data += scale * 4000.0 * np.exp(-squares / (2.0 * (fwhm / 2.355) ** 2))
    return data.astype(np.float32)


def test_light_beyond_the_edge_of_one_frame_is_taken_from_the_other() -> None:
    whole, other = stars(fwhm=3.0, scale=0.25), stars(fwhm=3.2, scale=1.0)
    mask = np.zeros(SHAPE, np.uint16)
    mask[45:60] = MaskPlane.NO_DATA
    bad, data = mask > 0, whole.copy()
    data[bad] = 0.0
    variance, one = np.ones(SHAPE, np.float32), np.ones(SHAPE, np.float32)
    fill_missing_light(
        (data, variance), (other, one), mask=mask, other_bad=np.zeros(SHAPE, bool), bad=bad
    )
    lit = bad & (other > 5.0)
    assert lit.sum() >= 15
    # the PSFs differ by 7 %; the error says so, and noise of one comes on top
    assert np.abs((data - whole)[lit] / np.sqrt(variance[lit])).max() < 3.0
    assert variance[lit] == pytest.approx(1.0 + (0.3 * data[lit]) ** 2, rel=1e-4)
    # faint sky is not copied, and nothing that was measured is touched
    assert (data[bad & ~lit] == 0.0).all()
    assert np.array_equal(data[~bad], whole[~bad])
    assert (variance[~lit] == 1.0).all()
