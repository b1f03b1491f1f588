"""Zero points."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from preprocessing.algorithms.stars import StarList
from preprocessing.algorithms.zero_point import (
    CatalogStars,
    calibrate_zero_point,
    fit_zero_point,
    header_zero_point,
)


def blank(**changes):
    return Image(
        data=np.zeros((100, 100), dtype=np.float32),
        mask=np.zeros((100, 100), dtype=np.uint16),
        **changes,
    )


def measured_stars(n=60, outliers=0):
    rng = np.random.default_rng(1)
    magnitude = rng.uniform(15, 19, n)
    flux = 10 ** (-0.4 * (magnitude - 25.3))
    error = np.hypot(0.01 * flux, 20.0)
    flux = flux + rng.normal(0, error)
    flux[:outliers] *= 3.0
    return flux, magnitude, error


def test_the_zero_point_comes_back_within_its_error_despite_variables():
    flux, magnitude, error = measured_stars(outliers=6)
    found = fit_zero_point(flux, magnitude, flux_error=error)
    assert found.error is not None
    assert found.value == pytest.approx(25.3, abs=4 * found.error)
    assert found.error < 0.005
    assert 45 <= found.n_stars <= 54
    assert found.source == "catalog"


def test_fewer_than_five_stars_make_no_zero_point():
    flux, magnitude, error = measured_stars(4)
    with pytest.raises(AlgorithmError, match="too few stars") as caught:
        fit_zero_point(flux, magnitude, flux_error=error)
    assert caught.value.numbers == {"n_stars": 4, "n_required": 5}


def test_the_header_value_is_recorded_as_such():
    assert header_zero_point(blank(zero_point=26.1)).source == "header"
    assert header_zero_point(blank()).value is None


def test_a_catalogue_across_ra_zero_is_matched():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [0.0, 80.0], [50.5, 50.5]
    wcs.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) / 3600
    flux, magnitude, error = measured_stars(30)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(5, 95, 30), rng.uniform(5, 95, 30)
    ra, dec = wcs.all_pix2world(x, y, 0)
    stars = StarList(x, y, flux, error, flux, np.ones(30, dtype=np.bool_))
    catalog = CatalogStars(ra=ra[::-1] % 360, dec=dec[::-1], magnitude=magnitude[::-1])
    found = calibrate_zero_point(blank(wcs=wcs), stars, catalog)
    assert found.n_stars > 25
    assert found.value == pytest.approx(25.3, abs=0.02)


def test_a_catalogue_needs_world_coordinates():
    flux, magnitude, error = measured_stars(10)
    stars = StarList(flux, flux, flux, error, flux, np.ones(10, dtype=np.bool_))
    catalog = CatalogStars(ra=flux, dec=flux, magnitude=magnitude)
    with pytest.raises(AlgorithmError, match="world coordinates"):
        calibrate_zero_point(blank(), stars, catalog)
