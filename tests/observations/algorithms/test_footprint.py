"""Footprints and overlaps against spherical truth, at the poles and across RA 0 too."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from observations.algorithms.footprint import measure_footprint, overlap_fraction

SHAPE = (400, 600)
SCALE = 1.0 / 3600.0


def frame(
    ra: float, dec: float, *, angle: float = 0.0, scale: float = SCALE, mirrored: bool = False
) -> WCS:
    """TAN frame centred on a position; ``angle`` turns +y from north through east."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(SHAPE[1] + 1) / 2, (SHAPE[0] + 1) / 2]
    a = np.radians(angle)
    flip = 1.0 if mirrored else -1.0
    wcs.wcs.cd = scale * np.array([[flip * np.cos(a), np.sin(a)], [-flip * np.sin(a), np.cos(a)]])
    return wcs


PLACES = [(150.0, 2.0), (0.0, 0.0), (359.99, -45.0), (10.0, 89.97), (200.0, 90.0), (77.0, -90.0)]


@pytest.mark.parametrize(("ra", "dec"), PLACES)
@pytest.mark.parametrize("angle", [0.0, 33.0, 270.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_footprint_has_the_size_place_and_orientation_of_its_frame(
    ra: float, dec: float, angle: float, mirrored: bool
) -> None:
    found = measure_footprint(frame(ra, dec, angle=angle, mirrored=mirrored), SHAPE)
    centre = SkyCoord(ra, dec, unit="deg")
    assert centre.separation(SkyCoord(found.ra, found.dec, unit="deg")).arcsec < 1e-6
    half_diagonal = np.hypot(*SHAPE) / 2
    # a tangent plane stretches by less than 1e-6 over 6 arcmin
    assert found.radius_deg * 3600 == pytest.approx(half_diagonal, rel=1e-5)
    corners = SkyCoord(found.corners, unit="deg")
    np.testing.assert_allclose(centre.separation(corners).arcsec, half_diagonal, rtol=1e-5)
    assert found.pixel_scale_arcsec == pytest.approx(1.0, rel=1e-6)
    assert found.is_mirrored is mirrored
    if abs(dec) < 90:
        turn = (found.orientation_deg - angle + 180) % 360 - 180
        assert abs(turn) < 1e-3


@pytest.mark.parametrize(("ra", "dec"), PLACES)
def test_a_frame_covers_itself(ra: float, dec: float) -> None:
    wcs = frame(ra, dec)
    assert overlap_fraction(wcs, SHAPE, wcs, other_shape=SHAPE) == 1.0


@pytest.mark.parametrize(("ra", "dec"), [*PLACES[:3]])
@pytest.mark.parametrize("shift", [0.0, 0.25, 0.9, 1.1])
def test_a_frame_shifted_by_a_fraction_overlaps_by_the_rest(
    ra: float, dec: float, shift: float
) -> None:
    other = frame(ra, dec)
    other.wcs.crpix = other.wcs.crpix + np.array([shift * SHAPE[1], 0.0])
    expected = max(0.0, 1.0 - shift)
    found = overlap_fraction(frame(ra, dec), SHAPE, other, other_shape=SHAPE)
    # one column of the 128-column grid
    assert found == pytest.approx(expected, abs=1 / 128)


def test_rotation_parity_and_scale_count_by_area() -> None:
    wcs, square = frame(10.0, -30.0), (400, 400)
    wcs.wcs.crpix = [200.5, 200.5]
    turned = frame(10.0, -30.0, angle=45.0, mirrored=True)
    turned.wcs.crpix = [200.5, 200.5]
    # a square and itself turned by 45 deg share 2 (sqrt 2 - 1) of their area
    found = overlap_fraction(wcs, square, turned, other_shape=square)
    assert found == pytest.approx(2 * (np.sqrt(2) - 1), abs=0.01)
    fine = frame(10.0, -30.0, scale=SCALE / 2)
    fine.wcs.crpix = [200.5, 200.5]
    assert overlap_fraction(wcs, square, fine, other_shape=square) == pytest.approx(0.25, abs=0.01)
    assert overlap_fraction(fine, square, wcs, other_shape=square) == 1.0


def test_frames_across_ra_zero_and_the_pole_overlap() -> None:
    east, west = frame(0.04, 10.0), frame(359.96, 10.0)
    # 0.08 deg of RA at dec 10 is 284 arcsec of 600
    found = overlap_fraction(east, SHAPE, west, other_shape=SHAPE)
    assert found == pytest.approx(1 - 0.08 * 3600 * np.cos(np.radians(10)) / 600, abs=0.01)
    here, there = frame(0.0, 89.99), frame(180.0, 89.99)
    # their +y axes point at each other: the frames are 72 arcsec apart along y
    found = overlap_fraction(here, SHAPE, there, other_shape=SHAPE)
    assert found == pytest.approx(1 - 72 / 400, abs=0.01)


def test_the_far_side_of_the_sky_does_not_overlap() -> None:
    assert overlap_fraction(frame(10.0, 20.0), SHAPE, frame(190.0, -20.0), other_shape=SHAPE) == 0


def test_a_frame_that_leaves_the_sky_has_no_footprint() -> None:
    wcs = frame(10.0, 20.0, scale=0.5)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    with pytest.raises(ValueError, match="off the sky"):
        measure_footprint(wcs, SHAPE)
