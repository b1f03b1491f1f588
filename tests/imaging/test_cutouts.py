"""Cutouts keep their place."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.cutouts import cut_out


def test_a_cutout_is_centred_on_the_nearest_pixel() -> None:
    data = np.arange(400.0).reshape(20, 20)
    cutout = cut_out(data, 7.4, 11.6, size=5)
    assert cutout.dtype == np.float32
    assert np.array_equal(cutout, data[10:15, 5:10].astype(np.float32))


def test_a_cutout_beyond_the_edge_is_padded_with_nan() -> None:
    data = np.ones((20, 20), np.float32)
    corner = cut_out(data, 0.0, 19.0, size=7)
    assert np.isfinite(corner).sum() == 16
    assert np.isfinite(corner[:4, 3:]).all()
    assert np.isnan(cut_out(data, 500.0, -500.0, size=7)).all()


def test_bad_pixels_are_nan_and_the_frame_is_untouched() -> None:
    data, bad = np.ones((9, 9), np.float32), np.zeros((9, 9), bool)
    bad[4, 5] = True
    cutout = cut_out(data, 4, 4, size=3, bad=bad)
    assert np.isnan(cutout[1, 2])
    assert np.isfinite(data).all()


@pytest.mark.parametrize("size", [0, 4, -3])
def test_a_cutout_needs_a_middle_pixel(size: int) -> None:
    with pytest.raises(ValueError, match="odd"):
        cut_out(np.ones((9, 9)), 4, 4, size=size)
