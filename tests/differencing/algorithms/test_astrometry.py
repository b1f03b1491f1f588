"""Tying a frame to the sky of its reference."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from astrid_site.imaging.fits_products import wcs_cards
from astrid_site.imaging.wcs_header import build_wcs
from differencing.algorithms.astrometry import describe_tie, tie_wcs

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


class UpsideDown:
    """Registration of a frame that is turned by half a circle about its centre."""

    def to_reference(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return SHAPE[1] - 1.0 - x, SHAPE[0] - 1.0 - y


class Still:
    """Registration of frames on one grid."""

    def to_reference(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x, y


@pytest.mark.parametrize(
    ("registration", "science", "words"),
    [
        (Still(), make_wcs(150.0, 2.0), None),
        (Still(), make_wcs(150.0, 2.0 + 20.0 / 3600.0), "is 20.0 arcsec off by the stars"),
        (Still(), make_wcs(150.0, 2.0 + 4.0 / 60.0), "is 4.0 arcmin off by the stars"),
        (UpsideDown(), make_wcs(150.0, 2.0), "is turned by 180 degrees by the stars"),
        (Still(), make_wcs(330.0, -2.0), "is elsewhere on the sky by the stars"),
    ],
)
def test_a_wcs_that_the_stars_contradict_is_said_and_replaced(
    registration: Still | UpsideDown, science: WCS, words: str | None
) -> None:
    reference = make_wcs(150.0, 2.0)
    tied = tie_wcs(science, reference, registration, shape=SHAPE)
    assert tied.rms_pix < 0.01
    x, y = np.array([10.0, 390.0]), np.array([20.0, 280.0])
    wanted = reference.all_pix2world(*registration.to_reference(x, y), 0)
    assert np.abs(np.array(tied.wcs.all_pix2world(x, y, 0)) - np.array(wanted)).max() < 3e-6
    said = describe_tie(tied)
    assert said is None if words is None else words in said


class Distorted:
    """Registration under a cubic distortion of 2.5 pixels in the corners."""

    def to_reference(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u, v = (x - 199.5) / 250.0, (y - 149.5) / 250.0
        return x + 2.5 * u * (u**2 + v**2), y + 2.5 * v * (u**2 + v**2)


@pytest.mark.parametrize("own", [make_wcs(150.001, 2.0), None], ids=["plain WCS", "none"])
def test_sky_positions_follow_a_distortion_that_the_stars_tell_of(own: WCS | None) -> None:
    reference = make_wcs(150.0, 2.0)
    tied = tie_wcs(own, reference, Distorted(), shape=SHAPE)
    x, y = np.array([10.0, 390.0, 200.0, 380.0]), np.array([20.0, 280.0, 5.0, 15.0])
    wanted = reference.all_pix2world(*Distorted().to_reference(x, y), 0)
    kept = build_wcs(wcs_cards(tied.wcs))
    for wcs in (tied.wcs, kept):
        apart = (np.array(wcs.all_pix2world(x, y, 0)) - np.array(wanted)) * 3600.0
        # a linear fit leaves an arcsecond in the corners
        assert np.abs(apart).max() < 0.03
    assert tied.rms_pix < 0.03
