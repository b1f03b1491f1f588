"""Resampling in two passes against gathering every sample of every pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from astrid_site.imaging.image import Image
from astrid_site.imaging.moffat import moffat_of_fwhm
from preprocessing.algorithms import warp as warping
from preprocessing.algorithms.plane_map import affine_map
from preprocessing.algorithms.registration import Registration
from preprocessing.algorithms.two_pass import GRID_STEP, hardly_turns
from preprocessing.algorithms.warp import fine, warp

SHAPE = (190, 230)


def mapping(angle, scale, offset):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    step = affine_map(np.array([[c, -s], [s, c]]), np.array(offset), shape=SHAPE)
    return Registration((step,), 10, 0.01, None, "stars", 1.0, 0.01, 1.0)


def starry(seed):
    """Forty stars of FWHM 2.5 pixels on a sky of noise 3, and its variance."""
    rng = np.random.default_rng(seed)
    data = rng.normal(0.0, 3.0, SHAPE)
    columns, rows = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0]))
    for x, y, flux in zip(
        rng.uniform(5, SHAPE[1] - 5, 40), rng.uniform(5, SHAPE[0] - 5, 40),
        10 ** rng.uniform(2.5, 4.5, 40), strict=True,
    ):  # fmt: skip
        data += flux * moffat_of_fwhm(2.5).image(columns - x, rows - y)
    variance = (9.0 + np.maximum(data, 0.0)).astype(np.float32)
    return Image(
        data=data.astype(np.float32), mask=np.zeros(SHAPE, dtype=np.uint16), variance=variance
    )


@pytest.mark.parametrize(
    ("angle", "scale", "offset"),
    [
        (0.0, 1.0, (0.37, -0.61)),
        (0.002, 1.0003, (3.4, -2.3)),
        (-0.0035, 1.0, (-5.2, 4.8)),
        (0.002, 1.6, (-20.0, -30.0)),
        (0.001, 0.7, (30.3, 25.6)),
    ],
    ids=["shifted", "dithered", "turned by a fifth of a degree", "coarser", "finer"],
)
def test_two_passes_give_what_gathering_gives(monkeypatch, angle, scale, offset):
    image, registration = starry(1), mapping(angle, scale, offset)
    quick = warp(image, registration, shape=SHAPE)
    monkeypatch.setattr(warping, "hardly_turns", lambda _: False)
    full = warp(image, registration, shape=SHAPE)
    # a turned edge of the reference may pass on either side of a pixel
    differs, outside = quick.mask != full.mask, full.mask != 0
    assert not (
        differs & ~(ndimage.binary_dilation(outside) & ndimage.binary_dilation(~outside))
    ).any()
    assert (angle != 0.0) or not differs.any()
    inside = (full.mask == 0) & (quick.mask == 0)
    noise = np.sqrt(full.variance[inside])
    difference = (quick.data - full.data)[inside]
    peak = ndimage.maximum_filter(np.abs(full.data), 9)[inside]
    # the kernel is sheared by the turn; positions rounded to 1/1024 pixel may fall either way
    assert (np.abs(difference) <= (0.001 + abs(angle)) * (peak + 3.0 * noise)).all()
    ratio = quick.variance[inside] / full.variance[inside]
    assert ratio == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.0, 0.5), (0.0, 1.7), (0.002, 0.5)])
def test_a_bad_pixel_flags_what_it_is_mixed_into_and_no_more(monkeypatch, angle, scale):
    image, registration = starry(2), mapping(angle, scale, (10.3, 8.6))
    mask = image.mask.copy()
    mask[::17, ::23] = 16
    image = image.with_(mask=mask)
    quick = warp(image, registration, shape=SHAPE).mask
    monkeypatch.setattr(warping, "hardly_turns", lambda _: False)
    full = warp(image, registration, shape=SHAPE).mask
    # a turn of 0.002 moves the floor of a position in one pixel of a hundred
    assert (quick != full).mean() <= 5 * angle
    assert (full == 16).mean() > 0.05


def test_a_map_that_turns_is_left_to_gathering():
    small, large = (np.array([[[1.0, -a], [a, 1.0]]]) for a in (0.003, 0.1))
    assert hardly_turns(small)
    assert not hardly_turns(large)
    assert not hardly_turns(np.array([[[-1.0, 0.0], [0.0, -1.0]]]))
    assert not hardly_turns(np.array([[[1.0, 0.0], [0.0, -1.0]]]))


def test_positions_between_the_nodes_are_bilinear():
    y, x = np.mgrid[0 : 4 * GRID_STEP : GRID_STEP, 0 : 5 * GRID_STEP : GRID_STEP].astype(float)
    grid = 3.0 + 0.5 * x - 0.25 * y + 0.001 * x * y
    rows, nx = np.array([0, 5, 40, 95]), 3 * GRID_STEP + 7
    columns = np.arange(nx)
    expected = 3.0 + 0.5 * columns - 0.25 * rows[:, None] + 0.001 * columns * rows[:, None]
    assert fine(grid, rows, nx) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("offset", np.arange(29.0, 29.08, 0.008))
def test_places_that_fall_behind_the_rows_have_their_samples(offset):
    # within a strip of rows the floor of the places drops by one against the rows
    image, registration = starry(1), mapping(0.0, 0.9997, (3.2, offset))
    warped = warp(image, registration, shape=SHAPE)
    inside = warped.mask[:150, 5:-10]
    assert not inside.any()
