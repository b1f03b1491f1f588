"""North is up and east is left on every frame, however it lies on the sky."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from detection.algorithms.orientation import choose_bar, orient_to_sky
from observations.algorithms.footprint import measure_footprint

SHAPE = (300, 400)


def frame(turn_deg: float, *, is_mirrored: bool, dec: float, scale: float = 0.5) -> WCS:
    """A TAN frame whose y axis is turned from north, mirrored or not."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [359.999, dec]
    wcs.wcs.crpix = [200.5, 150.5]
    t = np.radians(turn_deg)
    turn = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
    flip = np.diag([1.0 if is_mirrored else -1.0, 1.0])
    wcs.wcs.cd = scale / 3600 * turn @ flip
    return wcs


@pytest.mark.parametrize("turn_deg", [0, 12, 90, 135, 190, 271])
@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("dec", [0.0, -47.0, 89.9])
def test_steps_north_and_east_go_up_and_left_on_the_picture(
    turn_deg: float, is_mirrored: bool, dec: float
) -> None:
    wcs = frame(turn_deg, is_mirrored=is_mirrored, dec=dec)
    corners = measure_footprint(wcs, SHAPE).corners
    x, y = 260.0, 90.0
    ra, dec0 = (float(v) for v in wcs.all_pix2world(x, y, 0))
    found = orient_to_sky(corners, shape=SHAPE, ra=ra, dec=dec0)
    assert found is not None
    # one arcsecond: far more than rounding, far less than the frame
    step = 1 / 3600
    for d_ra, d_dec, goal in (
        (0.0, step, (0.0, -1.0)),
        (step / np.cos(np.radians(dec0)), 0.0, (-1.0, 0.0)),
    ):
        x2, y2 = wcs.all_world2pix(ra + d_ra, dec0 + d_dec, 0)
        u, v = x2 - x, -(y2 - y)
        a, b, c, d = found.matrix
        shown = np.array([a * u + c * v, b * u + d * v]) * found.scale_arcsec
        # a linear fit over a frame of 200 arcsec misses the TAN plane's curvature by < 1e-3
        assert shown == pytest.approx(goal, abs=5e-3)
    assert found.scale_arcsec == pytest.approx(0.5, rel=1e-3)


def test_lengths_are_kept_so_that_all_panels_have_one_scale() -> None:
    wcs = frame(33, is_mirrored=True, dec=20)
    found = orient_to_sky(measure_footprint(wcs, SHAPE).corners, shape=SHAPE, ra=0, dec=20)
    assert found is not None
    a, b, c, d = found.matrix
    assert abs(a * d - b * c) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    "corners",
    [
        [],
        [(10, 0), (10, 1), (11, 1)],
        [(10, 0)] * 4,
        [(10, 0), (190, 1), (190, 2), (10, 3)],
        [(float("nan"), 0), (10, 1), (11, 1), (11, 0)],
    ],
)
def test_corners_that_say_nothing_give_no_orientation(corners: list[tuple[float, float]]) -> None:
    assert orient_to_sky(corners, shape=SHAPE, ra=10, dec=0) is None


@pytest.mark.parametrize(("width", "bar"), [(63, 20.0), (6.3, 2.0), (0.1, 0.1), (20000, 3600.0)])
def test_the_scale_bar_is_a_round_length_that_fits(width: float, bar: float) -> None:
    assert choose_bar(width) == bar
