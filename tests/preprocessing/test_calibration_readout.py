"""Overscan, sections, trimming, crosstalk, and the measures everything rests on."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from astrid_site.imaging.image import Image
from preprocessing.algorithms.calibration import CalibrationSet, Readout, calibrate_image
from preprocessing.algorithms.combine import combine_frames
from preprocessing.algorithms.masters import neighbourhood
from preprocessing.algorithms.readout import (
    Crosstalk,
    Section,
    clipped_width,
    correct_crosstalk,
    overscan_level,
    parse_section,
)


def test_the_overscan_follows_a_pedestal_that_drifts_along_the_rows() -> None:
    rng = np.random.default_rng(19)
    drift = np.linspace(990.0, 1015.0, 300)[:, None]
    frame = np.rint(drift + rng.normal(0.0, 4.0, (300, 140))).astype(np.float32)
    found = overscan_level(frame, Section(100, 140, 0, 300))
    assert found.shape == (300, 1)
    # 25 rows of 40 pixels of noise 4: 0.13; the drift within half a window at the ends: 1
    assert np.abs(found - drift)[15:-15].max() < 0.6
    assert np.abs(found - drift).max() < 1.6


def test_a_trimmed_frame_keeps_its_place_on_the_sky() -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150.0, 2.0], [30.0, 20.0], [-3e-4, 3e-4]
    data = np.arange(60.0 * 80.0, dtype=np.float32).reshape(60, 80)
    raw = Image(data, np.zeros((60, 80), np.uint16), wcs=wcs)
    readout = Readout(None, Section(16, 80, 4, 60))
    done = calibrate_image(raw, CalibrationSet(), readout)
    assert done.steps == ("trim",)
    assert done.image.shape == (56, 64)
    assert done.image.data[10, 20] == data[14, 36]
    assert done.image.wcs is not None
    before, after = wcs.pixel_to_world(36, 14), done.image.wcs.pixel_to_world(20, 10)
    assert before.separation(after).arcsec < 1e-6


@given(
    st.integers(1, 50), st.integers(1, 50), st.integers(0, 60), st.integers(0, 60), st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_a_section_is_read_only_where_it_lies_in_the_frame(
    x: int, y: int, width: int, height: int, spaced: bool
) -> None:
    gap = " " if spaced else ""
    text = f"[{x}:{x + width},{gap}{y}:{y + height}]"
    found = parse_section(text, shape=(40, 60))
    if x + width <= 60 and y + height <= 40:
        assert found == Section(x - 1, x + width, y - 1, y + height)
        assert np.zeros((40, 60))[found.window].shape == found.shape
    else:
        assert found is None


@pytest.mark.parametrize("text", ["", "1:2,3:4", "[5:1,1:5]", "[0:5,1:5]", "[a:b,c:d]"])
def test_what_is_no_section_is_none(text: str) -> None:
    assert parse_section(text, shape=(10, 10)) is None


@given(hnp.arrays(np.float32, (4, 33, 35), elements=st.floats(-100, 100, width=32)),
       st.permutations(range(4)), st.integers(-5000, 5000))  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_a_mean_shifts_with_its_frames(
    stack: NDArray[np.float32], order: list[int], shift: int
) -> None:
    one = combine_frames(stack)
    moved = combine_frames(stack + np.float32(shift))
    assert np.allclose(moved.mean, one.mean + shift, atol=0.05)
    assert (one.mean >= stack.min(axis=0) - 1e-3).all()
    assert (combine_frames(stack[order]).n_used <= 4).all()


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-100, 100))
@settings(max_examples=25, deadline=None)
def test_the_neighbourhood_of_a_plane_is_the_plane(a: float, b: float, c: float) -> None:
    y, x = np.mgrid[0:96, 0:128]
    plane = (a * x + b * y + c).astype(np.float32)
    assert np.abs(neighbourhood(plane) - plane).max() <= 0.01 + 1e-5 * np.abs(plane).max()


@given(st.floats(-0.01, 0.01), st.floats(-0.01, 0.01))
@settings(max_examples=25, deadline=None)
def test_crosstalk_leaves_no_more_than_its_square(a: float, b: float) -> None:
    rng = np.random.default_rng(21)
    clean = rng.uniform(0.0, 1000.0, (20, 40)).astype(np.float32)
    halves = (Section(0, 20, 0, 20), Section(20, 40, 0, 20))
    seen = clean.copy()
    seen[:, :20] += np.float32(a) * clean[:, :19:-1]
    seen[:, 20:] += np.float32(b) * clean[:, 19::-1]
    table = Crosstalk(halves, ((False, False), (True, False)), np.array([[0, a], [b, 0]]))
    left = np.abs(correct_crosstalk(seen, table) - clean).max()
    assert left <= 1000.0 * abs(a * b) + 0.01


def test_the_width_of_whole_numbers_is_not_quantised() -> None:
    values = np.rint(np.random.default_rng(22).normal(0.0, 1.3, (3, 4000))).astype(np.float32)
    values[0, :3] = 9000.0
    values[1, ::2] = np.nan
    expected = np.sqrt(1.3**2 + 1.0 / 12.0)
    # 4000 samples fix a width to 1.1 %, 2000 to 1.6 %
    assert clipped_width(values) == pytest.approx([expected] * 3, rel=0.06)
