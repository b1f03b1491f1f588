"""Cutouts keep their place, and turn to north up, east left."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.wcs import WCS

from astrid_site.imaging.cutouts import cut_out, find_orientation, orient


def tan_wcs(angle_deg: float, *, mirrored: bool, dec: float = 30.0) -> WCS:
    """North at ``angle_deg`` counter-clockwise from up; mirrored has east on the right."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [101.0, 101.0]
    wcs.wcs.crval = [0.001, dec]
    a, scale = math.radians(angle_deg), 1.0 / 3600
    north = np.array([-math.sin(a), math.cos(a)])
    east = np.array([-north[1], north[0]]) * (-1 if mirrored else 1)
    wcs.wcs.cd = np.linalg.inv(np.column_stack([east, north])) * scale
    return wcs


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


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0, 12, 44, 90, 137, 180, 226, 270, 350])
@pytest.mark.parametrize("dec", [0.0, -30.0, 85.0])
def test_after_turning_a_star_to_the_north_is_up_and_one_to_the_east_left(
    angle: float, mirrored: bool, dec: float
) -> None:
    wcs = tan_wcs(angle, mirrored=mirrored, dec=dec)
    orientation = find_orientation(wcs, 100.0, 100.0)
    assert orientation.is_flipped == mirrored
    assert -45.001 <= orientation.north_angle_deg <= 45.001
    ra, dec0 = (float(v) for v in wcs.all_pix2world(100.0, 100.0, 0))
    step = 20 / 3600
    for is_east in (False, True):
        d_ra = step / math.cos(math.radians(dec0)) if is_east else 0.0
        x, y = wcs.all_world2pix(ra + d_ra, dec0 + (0.0 if is_east else step), 0)
        data = np.zeros((201, 201), np.float32)
        data[round(float(y)), round(float(x))] = 1
        turned = orient(cut_out(data, 100, 100, size=63), orientation)
        row, column = np.argwhere(turned == 1)[0] - 31
        from_up = math.degrees(math.atan2(-column, row)) - (90 if is_east else 0)
        # a star 20 pixels away on whole pixels shows its direction to 2 degrees
        assert from_up == pytest.approx(orientation.north_angle_deg, abs=3)


def test_a_triplet_is_turned_plane_by_plane() -> None:
    planes = np.random.default_rng(1).normal(size=(4, 9, 9)).astype(np.float32)
    orientation = find_orientation(tan_wcs(90, mirrored=False), 100, 100)
    turned = orient(planes, orientation)
    assert np.array_equal(turned[2], orient(planes[2], orientation))
    assert turned.sum() == pytest.approx(planes.sum(), rel=1e-4)


def test_a_degenerate_wcs_has_no_north() -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [10.0, 20.0]
    wcs.wcs.cd = [[1e-4, 1e-4], [1e-4, 1e-4 * (1 + 1e-13)]]
    with pytest.raises(ValueError, match="north"):
        find_orientation(wcs, 5, 5)
