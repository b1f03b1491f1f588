"""The printed finder chart: true to the sky, one page, the same bytes twice."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from catalog.algorithms.finder_sheet import (
    FinderSheet,
    Picture,
    draw_finder_sheet,
    north_up,
    offset_stars,
    tangent_offsets,
)


def turned_wcs(turn_deg: float, *, flip: bool, ra: float = 150.0, dec: float = 60.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [100.5, 100.5]
    t, sign = np.radians(turn_deg), 1.0 if flip else -1.0
    wcs.wcs.cd = np.array([[sign * np.cos(t), np.sin(t)], [-sign * np.sin(t), np.cos(t)]]) / 3600
    return wcs


@pytest.mark.parametrize("turn", [0.0, 37.0, 180.0])
@pytest.mark.parametrize("flip", [False, True])
def test_north_is_up_and_east_is_left_whatever_the_frame(turn: float, flip: bool) -> None:
    wcs = turned_wcs(turn, flip=flip)
    target = SkyCoord(150.0, 60.0, unit="deg")
    rows, columns = np.mgrid[0:200, 0:200]
    data = np.zeros((200, 200))
    for angle, flux in ((0.0, 100.0), (90.0, 50.0)):  # one star north, a fainter one east
        star = target.directional_offset_by(angle * u.deg, 20 / 3600 * u.deg)
        x, y = wcs.all_world2pix(star.ra.deg, star.dec.deg, 0)
        data += flux * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8.0)
    drawn = north_up(data, wcs, ra=150.0, dec=60.0, size_arcsec=80.0, side=161)
    north = np.unravel_index(np.argmax(drawn), drawn.shape)
    # a pixel of the drawing is half an arcsecond: 20 arcsec are 40 of them
    assert np.hypot(north[0] - 120, north[1] - 80) < 2.0
    left = drawn[:, :60]
    east = np.unravel_index(np.argmax(left), left.shape)
    assert np.hypot(east[0] - 80, east[1] - 40) < 2.0


def test_offsets_are_those_of_the_sky_also_at_the_pole_and_over_ra_0() -> None:
    for ra, dec in ((0.001, 10.0), (200.0, 89.99), (359.999, -75.0)):
        here = SkyCoord(ra, dec, unit="deg")
        there = here.directional_offset_by(0.7 * u.rad, 30 / 3600 * u.deg)
        east, north = tangent_offsets(ra, dec, [there.ra.deg], [there.dec.deg])
        assert east[0] == pytest.approx(30 * np.sin(0.7), abs=1e-3)
        assert north[0] == pytest.approx(30 * np.cos(0.7), abs=1e-3)


def test_the_way_goes_from_the_star_to_the_object_and_the_object_is_no_star() -> None:
    star = SkyCoord(10.0, 20.0, unit="deg").directional_offset_by(0 * u.rad, 15 / 3600 * u.deg)
    found = offset_stars(
        10.0,
        20.0,
        star_ra=[10.0, star.ra.deg, 10.5],
        star_dec=[20.0001, star.dec.deg, 20.0],
        magnitudes=[15.0, 16.0, 12.0],
        size_arcsec=60.0,
    )
    assert len(found) == 1
    assert found[0].magnitude == 16.0
    assert found[0].north_arcsec == pytest.approx(-15.0, abs=1e-3)
    assert abs(found[0].east_arcsec) < 1e-3


def test_a_sheet_is_one_page_and_the_same_twice_also_where_nothing_is_to_be_seen() -> None:
    sheet = FinderSheet(
        name="AstrID J1",
        coordinates=("10:00:00 +60:00:00", "150.0 +60.0"),
        size_arcsec=120.0,
        pictures=(Picture("science", np.full((40, 40), np.nan)), Picture("reference", np.eye(40))),
        stars=(),
        lines=(("Frame", "a frame"),),
    )
    page = draw_finder_sheet(sheet)
    assert page.startswith(b"%PDF")
    assert page.count(b"/Type /Page ") == 1
    assert draw_finder_sheet(sheet) == page
