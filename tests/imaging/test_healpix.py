"""Cones on HEALPix ranges never lose a position, wherever on the sky."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid_site.imaging.healpix import (
    ORDER,
    cone_ranges,
    nested_index,
    nested_indices,
    separation_arcsec,
)

LONGITUDES = st.one_of(st.floats(0, 360), st.sampled_from([0.0, 1e-9, 359.999999999, 180.0, 45.0]))
LATITUDES = st.one_of(
    st.floats(-90, 90), st.sampled_from([90.0, -90.0, 89.9999, -89.9999, 0.0, 41.8103148957786])
)
RADII = st.one_of(st.floats(0.01, 7200.0), st.floats(7200.0, 648_000.0))


def points_in_cone(ra: float, dec: float, radius_arcsec: float, *, seed: int) -> np.ndarray:
    """Positions (ra, dec) uniform within a cone, half of them at its very rim."""
    rng = np.random.default_rng(seed)
    distance = np.where(rng.random(300) < 0.5, 1.0, np.sqrt(rng.random(300))) * radius_arcsec
    centre = SkyCoord(ra % 360 * u.deg, dec * u.deg)
    points = centre.directional_offset_by(rng.uniform(0, 360, 300) * u.deg, distance * u.arcsec)
    return np.stack([points.ra.deg, points.dec.deg])


def is_covered(index: np.ndarray, ranges: list[tuple[int, int]]) -> np.ndarray:
    low, high = np.array(ranges).T
    slot = np.searchsorted(low, index, side="right") - 1
    return (slot >= 0) & (index < high[np.maximum(slot, 0)])


@settings(max_examples=150, deadline=None)
@given(ra=LONGITUDES, dec=LATITUDES, radius=RADII, seed=st.integers(0, 2**31))
def test_every_position_within_the_cone_is_in_its_ranges(
    ra: float, dec: float, radius: float, seed: int
) -> None:
    ranges = cone_ranges(ra, dec, radius)
    lon, lat = points_in_cone(ra, dec, radius, seed=seed)
    within = separation_arcsec(ra, dec, lon, lat) <= radius
    assert is_covered(nested_indices(lon, lat), ranges)[within].all()


@settings(max_examples=100, deadline=None)
@given(ra=LONGITUDES, dec=LATITUDES, radius=RADII, bound=st.integers(12, 200))
def test_ranges_are_disjoint_ascending_bounded_and_on_the_sky(
    ra: float, dec: float, radius: float, bound: int
) -> None:
    ranges = cone_ranges(ra, dec, radius, max_ranges=bound)
    assert 1 <= len(ranges) <= bound
    flat = [edge for pair in ranges for edge in pair]
    assert flat == sorted(set(flat))
    assert flat[0] >= 0
    assert flat[-1] <= 12 * 4**ORDER


@pytest.mark.parametrize("radius", [30.0, 600.0, 36_000.0])
@pytest.mark.parametrize("dec", [0.0, 41.8, 89.99])
def test_the_ranges_waste_little_sky(radius: float, dec: float) -> None:
    ranges = cone_ranges(0.0, dec, radius)
    cell = 4 * np.pi * (180 / np.pi * 3600) ** 2 / (12 * 4**ORDER)
    area = sum(high - low for low, high in ranges) * cell
    cone = np.pi * (radius + 13.0) ** 2
    assert area < 2.5 * cone


def test_the_whole_sky_is_one_range() -> None:
    assert cone_ranges(10.0, 10.0, 648_000.0) == [(0, 12 * 4**ORDER)]


def test_the_index_is_the_standard_one() -> None:
    # RA 0, Dec 0 is where base cell 4 has its centre: the middle of its 4^14 children
    assert nested_index(45.0, 90.0) == 4**ORDER - 1
    assert nested_index(0.0, 0.0) // 4**ORDER == 4
    assert nested_index(360.0, 10.0) == nested_index(0.0, 10.0)


@settings(max_examples=100, deadline=None)
@given(ra1=LONGITUDES, dec1=LATITUDES, ra2=LONGITUDES, dec2=LATITUDES)
def test_separations_agree_with_astropy(ra1: float, dec1: float, ra2: float, dec2: float) -> None:
    ours = float(separation_arcsec(ra1, dec1, ra2, dec2))
    a, b = SkyCoord(ra1 % 360 * u.deg, dec1 * u.deg), SkyCoord(ra2 % 360 * u.deg, dec2 * u.deg)
    assert ours == pytest.approx(a.separation(b).arcsec, abs=1e-8, rel=1e-12)


@pytest.mark.parametrize(
    ("ra", "dec", "radius"),
    [(0, 91, 1), (0, -90.1, 1), (float("nan"), 0, 1), (0, 0, 0), (0, 0, -1), (0, 0, 7e5)],
)
def test_cones_off_the_sky_are_refused(ra: float, dec: float, radius: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        cone_ranges(ra, dec, radius)


def test_a_bound_below_the_base_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="max_ranges"):
        cone_ranges(0, 0, 10, max_ranges=11)
