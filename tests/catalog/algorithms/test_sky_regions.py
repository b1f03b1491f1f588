"""Regions of the sky: exact inside, and never narrower than they are in the index."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.healpix import nested_indices, separation_arcsec
from catalog.algorithms.object_search import SearchError, object_search
from catalog.algorithms.sky_regions import Box, Cone, Moc, Polygon, read_moc, read_polygon

TRIANGLE = Polygon(((359.0, -1.0), (1.0, -1.0), (0.0, 1.5)))
POLAR = Polygon(((0.0, 85.0), (90.0, 85.0), (180.0, 85.0), (270.0, 85.0)))
CONCAVE = Polygon(((10.0, 10.0), (20.0, 10.0), (20.0, 20.0), (15.0, 12.0), (10.0, 20.0)))
REGIONS = {
    "cone over RA 0": Cone(0.1, -5.0, 7200.0),
    "cone on the pole": Cone(77.0, 89.9, 7200.0),
    "box over RA 0": Box(358.0, 3.0, -4.0, 6.0),
    "box at the pole": Box(20.0, 60.0, 80.0, 90.0),
    "wide box": Box(10.0, 300.0, -40.0, 40.0),
    "triangle over RA 0": TRIANGLE,
    "around the pole": POLAR,
    "concave": CONCAVE,
    "moc": read_moc("3/5 100-103 6/7000 29/0"),
}


def positions(n: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """All over the sky, with many at the poles and near RA 0."""
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    dec[: n // 6] = rng.uniform(84, 90, n // 6)
    ra[n // 6 : n // 3] = rng.uniform(-6, 6, n // 6) % 360
    dec[n // 6 : n // 3] = rng.uniform(-8, 8, n // 6)
    ra[n // 3 : n // 2], dec[n // 3 : n // 2] = (
        rng.uniform(8, 22, n // 2 - n // 3),
        rng.uniform(8, 22, n // 2 - n // 3),
    )
    return ra, dec


@pytest.mark.parametrize("name", REGIONS)
def test_the_cells_of_a_region_hold_all_that_lies_in_it(name: str) -> None:
    region = REGIONS[name]
    ra, dec = positions()
    is_inside = region.contains(ra, dec)
    assert is_inside.sum() > 10
    cells, is_covered = nested_indices(ra, dec), np.zeros(len(ra), dtype=bool)
    ranges = region.cover()
    assert len(ranges) <= 48
    for low, high in ranges:
        is_covered |= (cells >= low) & (cells < high)
    assert not ranges or not (is_inside & ~is_covered).any()


def test_a_polygon_is_the_intersection_of_its_half_spaces_where_it_is_convex() -> None:
    ra, dec = positions()
    points = directions(ra, dec)
    for polygon in (TRIANGLE, POLAR):
        corners = directions(*np.array(polygon.corners).T)
        sides = [
            points @ np.cross(a, b)
            for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        ]
        expected = np.all(np.array(sides) > 0, axis=0)
        assert expected.sum() > 100
        assert (polygon.contains(ra, dec) == expected).all()


def directions(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def test_a_notch_in_a_polygon_is_outside_and_its_arms_are_inside() -> None:
    inside = CONCAVE.contains([11.0, 19.0, 15.0], [17.0, 17.0, 17.0])
    assert inside.tolist() == [True, True, False]


def test_what_lies_on_the_far_side_of_the_sky_is_outside_a_polygon() -> None:
    assert not TRIANGLE.contains([180.0], [0.0])[0]
    assert TRIANGLE.contains([0.0], [0.0])[0]


def test_the_rim_of_a_cone_and_the_sides_of_a_box_belong_to_them() -> None:
    apart = float(separation_arcsec(10.0, 10.0, 10.5, 10.5))
    assert Cone(10.0, 10.0, apart).contains([10.5], [10.5])[0]
    assert (
        Box(350.0, 10.0, -1.0, 1.0).contains([350.0, 10.0, 0.0, 349.9], [1.0, -1.0, 0, 0]).sum()
        == 3
    )


def test_a_moc_is_read_as_it_is_written_and_holds_its_cells_only() -> None:
    moc = read_moc("0/3 1/0-1,3")
    assert moc == Moc(((0, 2 << 56), (3 << 56, 4 << 56), (3 << 58, 4 << 58)))
    ra, dec = positions(6_000)
    cells = nested_indices(ra, dec)
    assert (moc.contains(ra, dec) == np.isin(cells >> 26, [0, 1, 3, 12, 13, 14, 15])).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2, 3 4", "3 to 200 corners"),
        ("1 2, 3 four, 5 6", "is not “ra dec”"),
        ("1 2, 3 95, 5 6", "not on the sky"),
        ("0 0, 120 0, 240 0", "split it"),
        ("1 2 3, 4 5, 6 7", "is not “ra dec”"),
        ("nan 2, 3 4, 5 6", "not on the sky"),
    ],
)
def test_a_polygon_that_is_none_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_polygon(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("123", "neither an order"),
        ("3/768", "cells 0 to 767"),
        ("30/1", "deeper than 29"),
        ("3/", "no cell"),
        ("3/5-4", "cells 0 to 767"),
        ("3/x", "neither an order"),
    ],
)
def test_a_moc_that_is_none_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_moc(text)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"ra": 1.0}, "dec"),
        ({"dec": 1.0}, "ra"),
        ({"radius_arcsec": 1.0}, "radius_arcsec"),
        ({"ra": 1.0, "dec": 1.0, "ra_min": 3.0}, "ra_min"),
        ({"polygon": "1 2, 3 4, 5 6", "moc": "0/1"}, "moc"),
        ({"dec_min": 3.0, "dec_max": 1.0}, "dec_min"),
        ({"min_score": 0.9, "max_score": 0.1}, "max_score"),
        ({"polygon": "1 2"}, "polygon"),
        ({"moc": "x"}, "moc"),
    ],
)
def test_conditions_that_contradict_each_other_name_their_field(
    values: dict[str, object], field: str
) -> None:
    with pytest.raises(SearchError) as raised:
        object_search(values)
    assert raised.value.field == field
