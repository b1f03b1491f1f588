"""Association agrees with brute force everywhere on the sky and pairs nobody twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid_site.imaging.healpix import separation_arcsec
from catalog.algorithms.association import SkyPositions, group, match

CENTRES = st.sampled_from(
    [(0.0, 0.0), (359.9999, -45.0), (123.0, 90.0), (77.0, -89.9995), (10, 20)]
)


def scattered(
    centre: tuple[float, float], n: int, rng: np.random.Generator, *, width_arcsec: float = 20.0
) -> SkyPositions:
    """Positions scattered around a centre through a rotation: the same at a pole as elsewhere."""
    ra, dec = np.radians(centre)
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    north = np.array([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    up = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    dx, dy = np.radians(rng.normal(0, width_arcsec / 3600, (2, n)))
    v = up + dx[:, None] * east + dy[:, None] * north
    lon = np.degrees(np.arctan2(v[:, 1], v[:, 0])) % 360
    return SkyPositions(lon, np.degrees(np.arctan2(v[:, 2], np.hypot(v[:, 0], v[:, 1]))))


def brute_force(a: SkyPositions, b: SkyPositions, radius: float) -> list[tuple[int, int]]:
    """Nearest pair first, over the full matrix."""
    matrix = separation_arcsec(a.ra[:, None], a.dec[:, None], b.ra[None], b.dec[None])
    pairs = []
    while matrix.size and matrix.min() <= radius:
        i, j = np.unravel_index(matrix.argmin(), matrix.shape)
        pairs.append((int(i), int(j)))
        matrix[i, :] = np.inf
        matrix[:, j] = np.inf
    return pairs


@settings(max_examples=80, deadline=None)
@given(
    centre=CENTRES,
    n=st.integers(0, 25),
    m=st.integers(0, 25),
    radius=st.floats(0.5, 30.0),
    seed=st.integers(0, 2**31),
)
def test_matches_are_those_of_brute_force(
    centre: tuple[float, float], n: int, m: int, radius: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    detections, objects = scattered(centre, n, rng), scattered(centre, m, rng)
    found = match(detections, objects, radius)
    pairs = list(zip(found.detection.tolist(), found.object.tolist(), strict=True))
    assert pairs == brute_force(detections, objects, radius)
    assert len(set(found.detection.tolist())) == len(set(found.object.tolist())) == len(found)
    assert (found.separation_arcsec <= radius).all()


def test_two_detections_of_one_epoch_do_not_share_an_object() -> None:
    objects = SkyPositions(np.array([10.0]), np.array([0.0]))
    detections = SkyPositions(np.array([10.0, 10.0]) + np.array([0.8, -0.3]) / 3600, np.zeros(2))
    found = match(detections, objects, 1.5)
    assert found.detection.tolist() == [1]


def test_an_uncertain_position_reaches_farther_but_not_without_bound() -> None:
    objects = SkyPositions(np.array([10.0]), np.array([0.0]), np.array([0.1]))

    def n_matched(offset: float, error: float) -> int:
        position = SkyPositions(
            np.array([10.0 + offset / 3600]), np.array([0.0]), np.array([error])
        )
        return len(match(position, objects, 1.0))

    assert n_matched(2.0, 0.05) == 0
    assert n_matched(2.0, 0.9) == 1
    assert n_matched(5.0, 10.0) == 0


def test_the_more_certain_detection_wins_among_equally_near_ones() -> None:
    objects = SkyPositions(np.array([0.0]), np.array([0.0]))
    offsets = np.array([0.4, -0.5]) / 3600
    detections = SkyPositions(offsets % 360, np.zeros(2), np.array([0.1, 0.6]))
    assert match(detections, objects, 1.0).detection.tolist() == [1]


def test_positions_group_around_the_most_trusted() -> None:
    ra = np.array([359.9999, 0.0001, 0.0, 5.0, 5.0001])
    labels = group(SkyPositions(ra, np.zeros(5)), 1.0)
    assert labels.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan")])
def test_the_radius_must_be_positive(radius: float) -> None:
    empty = SkyPositions(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="radius"):
        match(empty, empty, radius)


def test_positions_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        SkyPositions(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="error_arcsec"):
        SkyPositions(np.zeros(2), np.zeros(2), np.zeros(3))
