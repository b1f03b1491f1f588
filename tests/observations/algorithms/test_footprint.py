"""Footprints against spherical truth, at the poles and across RA 0 too."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from observations.algorithms.footprint import measure_footprint

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
def test_a_footprint_has_the_size_and_place_of_its_frame(
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


def test_a_frame_that_leaves_the_sky_has_no_footprint() -> None:
    wcs = frame(10.0, 20.0, scale=0.5)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    with pytest.raises(ValueError, match="off the sky"):
        measure_footprint(wcs, SHAPE)
