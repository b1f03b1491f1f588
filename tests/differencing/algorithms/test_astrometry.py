"""Tying a frame to the sky of its reference."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from differencing.algorithms.astrometry import tie_wcs

SHAPE = (300, 400)


def make_wcs(
    ra: float, dec: float, *, scale: float = 1.0, angle: float = 0.0, pv: bool = False
) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TPV", "DEC--TPV"] if pv else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [200.5, 150.5]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * scale / 3600.0
    if pv:
        wcs.wcs.set_pv([(1, 1, 1.0), (1, 4, 0.02), (2, 1, 1.0), (2, 6, -0.01)])
    wcs.wcs.set()
    wcs.array_shape = SHAPE
    return wcs


class Turned:
    """Registration by a small rotation, scale and shift."""

    def to_reference(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 1.0002 * x + 0.003 * y + 3.3, -0.003 * x + 1.0001 * y - 2.2


@pytest.mark.parametrize("pv", [False, True])
def test_a_tied_frame_puts_every_star_where_the_reference_has_it(pv: bool) -> None:
    reference, science = make_wcs(150.0, 2.0, pv=pv), make_wcs(150.001, 2.0004, angle=0.4, pv=pv)
    tied = tie_wcs(science, reference, Turned(), shape=SHAPE)
    x, y = np.array([10.0, 390.0, 200.0]), np.array([20.0, 280.0, 5.0])
    wanted = reference.all_pix2world(*Turned().to_reference(x, y), 0)
    found = tied.wcs.all_pix2world(x, y, 0)
    # the affine part carries the registration; a hundredth of a pixel is 3e-6 degrees
    assert np.abs(np.array(found) - np.array(wanted)).max() < 3e-6
    assert tied.rms_pix < 0.01
    assert tied.shift_pix is not None
    assert tied.shift_pix > 1.0


def test_a_frame_without_a_wcs_gets_the_reference_s() -> None:
    reference = make_wcs(0.001, 80.0)
    tied = tie_wcs(None, reference, Turned(), shape=SHAPE)
    x, y = np.array([5.0, 395.0]), np.array([5.0, 295.0])
    wanted = reference.all_pix2world(*Turned().to_reference(x, y), 0)
    back = tied.wcs.all_world2pix(*wanted, 0)
    assert np.hypot(back[0] - x, back[1] - y).max() < 0.01
    assert tied.shift_pix is None
