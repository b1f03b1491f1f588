"""Proper motions, distances in galaxy radii, and the probability of a host."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from astrid_site.imaging.healpix import separation_arcsec
from catalog.algorithms.hosts import chance_coincidence, directional_radius, host_odds
from catalog.algorithms.proper_motion import julian_year, move_places


def test_places_move_as_astropy_moves_them_at_the_poles_too() -> None:
    rng = np.random.default_rng(5)
    ra = rng.uniform(0, 360, 40)
    dec = np.concatenate([rng.uniform(-89, 89, 36), [89.9999, -89.9999, 89.99, 0.0]])
    pm_ra, pm_dec = rng.uniform(-4_000, 4_000, (2, 40))
    start, end = Time(1990.0, format="jyear"), Time(2015.5, format="jyear")
    # without a radial velocity perspective plays hardly a part, as in our model
    sky = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pm_ra * u.mas / u.yr,
        pm_dec=pm_dec * u.mas / u.yr,
        distance=np.full(40, 10.0) * u.pc,
        radial_velocity=np.zeros(40) * u.km / u.s,
        obstime=start,
    ).apply_space_motion(new_obstime=end)
    moved = move_places(ra, dec, pm_ra=pm_ra, pm_dec=pm_dec, years=25.5)
    apart = separation_arcsec(*moved, sky.ra.deg, sky.dec.deg)
    # up to 140 arcsec travelled; the finite distance alone makes up to a milliarcsec of them
    assert apart.max() < 0.01


def test_a_star_without_a_known_motion_stays_and_mjd_becomes_a_year() -> None:
    ra, dec = move_places([10.0], [-20.0], pm_ra=[np.nan], pm_dec=[np.nan], years=[30.0])
    assert (ra[0], dec[0]) == pytest.approx((10.0, -20.0), abs=1e-12)
    assert julian_year(51544.5) == 2000.0
    assert julian_year(51544.5 + 365.25 * 16) == 2016.0


def test_the_radius_of_a_galaxy_is_that_towards_the_transient() -> None:
    along, across, circle, unknown = directional_radius(
        np.full(4, 6.0),
        np.array([30.0, 120.0, 77.0, 10.0]),
        radius_arcsec=np.array([3.0, 3.0, 3.0, np.nan]),
        axis_ratio=np.array([0.5, 0.5, np.nan, 0.5]),
        angle_deg=np.array([30.0, 30.0, 12.0, 0.0]),
    )
    assert along == pytest.approx(2.0)
    assert across == pytest.approx(4.0)
    assert circle == pytest.approx(2.0)
    assert np.isnan(unknown)


def test_chance_grows_with_distance_and_faintness_as_the_counts_of_galaxies_do() -> None:
    far = chance_coincidence(
        np.array([1.0, 2.0]), np.array([20.0, 20.0]), radius_arcsec=np.zeros(2)
    )
    assert far[1] == pytest.approx(4 * far[0], rel=0.01)
    # 10^-2.44 / (0.33 ln 10) a square arcsec are brighter than magnitude 24
    faint = chance_coincidence(np.array([1.0]), np.array([24.0]), radius_arcsec=np.zeros(1))
    assert faint[0] == pytest.approx(np.pi * 10**-2.44 / (0.33 * np.log(10)), rel=0.01)
    assert np.isnan(chance_coincidence(np.ones(1), np.full(1, np.nan), radius_arcsec=np.zeros(1)))


def test_probabilities_of_all_hosts_and_of_none_sum_to_one() -> None:
    odds = host_odds(np.array([0.001, 0.2, np.nan, 0.9]))
    assert np.nansum(odds.probability) + odds.none == pytest.approx(1.0)
    assert odds.probability[0] > 0.99
    assert np.isnan(odds.probability[2])
    assert host_odds(np.zeros(0)).none == 1.0
    alone = host_odds(np.array([0.3]))
    assert (alone.probability[0], alone.none) == pytest.approx((0.7, 0.3))
