"""The table of world coordinates follows astropy to a fraction of a pixel, and says how well."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS, Sip

from astrid_site.imaging.tangent_grid import fit_tangent_grid

SHAPE = (900, 1300)


def make_wcs(
    *, ra: float, dec: float, scale_arcsec: float = 1.0, turn_deg: float = 20.0, parity: int = -1,
    projection: str = "TAN", sip: float = 0.0,
) -> WCS:  # fmt: skip
    wcs = WCS(naxis=2)
    suffix = "-SIP" if sip else ""
    wcs.wcs.ctype = [f"RA---{projection}{suffix}", f"DEC--{projection}{suffix}"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [300.0, 800.0]
    t = np.radians(turn_deg)
    step = scale_arcsec / 3600
    wcs.wcs.cd = step * np.array(
        [[parity * np.cos(t), np.sin(t)], [-parity * np.sin(t), np.cos(t)]]
    )
    wcs.wcs.radesys = "ICRS"
    if sip:
        a, b = np.zeros((4, 4)), np.zeros((4, 4))
        a[2, 0], a[0, 2], b[1, 1], b[3, 0] = sip, -sip / 2, sip, sip / 1000
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    if projection == "ZPN":
        wcs.wcs.set_pv([(2, 1, 1.0), (2, 3, 0.2)])
    wcs.wcs.set()
    return wcs


def worst_error_pix(wcs: WCS, scale_arcsec: float, *, seed: int = 1) -> tuple[float, float]:
    """Largest separation from astropy at random places [pix], and the table's own word."""
    grid = fit_tangent_grid(wcs, SHAPE)
    assert grid is not None
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.5, SHAPE[1] - 0.5, 3000), rng.uniform(-0.5, SHAPE[0] - 0.5, 3000)
    ra, dec = grid.to_sky(x, y)
    truth = SkyCoord(*wcs.all_pix2world(x, y, 0), unit="deg")
    error = SkyCoord(ra, dec, unit="deg").separation(truth).arcsec / scale_arcsec
    return float(error.max()), grid.error_pix


@pytest.mark.parametrize(
    ("ra", "dec"), [(0.001, 0.0), (359.999, 12.0), (150.0, -45.0), (80.0, 89.9), (10.0, -90.0)]
)
@pytest.mark.parametrize("parity", [-1, 1])
def test_a_gnomonic_frame_needs_four_nodes_anywhere_on_the_sky(ra, dec, parity) -> None:
    wcs = make_wcs(ra=ra, dec=dec, parity=parity)
    error, told = worst_error_pix(wcs, 1.0)
    assert error < 1e-4
    assert told < 1e-4
    grid = fit_tangent_grid(wcs, SHAPE)
    assert grid is not None
    assert grid.xi.shape == (2, 2)


@pytest.mark.parametrize("sip", [1e-7, 3e-6, 3e-5])
def test_a_distorted_frame_is_followed_to_a_tenth_of_a_pixel(sip: float) -> None:
    error, told = worst_error_pix(make_wcs(ra=210.0, dec=54.0, sip=sip), 1.0)
    assert error < 0.1
    # between the tested places it may be a little worse than told
    assert error < 1.5 * told + 1e-4


@pytest.mark.parametrize("projection", ["ZPN", "ARC", "STG", "SIN"])
def test_other_projections_of_wide_fields_are_followed_too(projection: str) -> None:
    wcs = make_wcs(ra=30.0, dec=20.0, scale_arcsec=30.0, projection=projection)
    error, _ = worst_error_pix(wcs, 30.0)
    assert error < 0.1


def test_a_frame_beyond_the_horizon_has_no_table() -> None:
    wide = make_wcs(ra=30.0, dec=20.0, scale_arcsec=600.0, projection="ARC")
    assert fit_tangent_grid(wide, SHAPE) is None
    allsky = make_wcs(ra=30.0, dec=20.0, scale_arcsec=1500.0, projection="AIT")
    assert fit_tangent_grid(allsky, SHAPE) is None


def test_the_table_is_plain_numbers_that_keep_the_position() -> None:
    grid = fit_tangent_grid(make_wcs(ra=150.0, dec=2.0), SHAPE)
    assert grid is not None
    told = grid.as_json()
    assert told["shape"] == list(SHAPE)
    assert np.abs(np.array(told["xi"]) - grid.xi).max() < 1e-12
