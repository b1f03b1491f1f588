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
    apply_trend,
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


def colored_stars(n=120, *, seed=3, slope=0.06, scatter=0.012, trend=(0.0, 0.0), outliers=0):
    """Stars with a colour term, a trend across the frame and an intrinsic scatter, all known."""
    rng = np.random.default_rng(seed)
    magnitude, color = rng.uniform(15, 18.5, n), rng.normal(0.6, 0.35, n)
    u, v = rng.uniform(-1, 1, n), rng.uniform(-1, 1, n)
    zero_point = 25.3 + slope * (color - 0.6) + trend[0] * u + trend[1] * v
    zero_point += rng.normal(0, scatter, n)
    # of a few per mille to a few per cent, so that the scatter matters to most
    flux = 10 ** (-0.4 * (magnitude - zero_point))
    error = np.hypot(0.002 * flux, 6.0)
    magnitude_error = rng.uniform(0.002, 0.01, n)
    told = magnitude + rng.normal(0, magnitude_error)
    told[:outliers] += rng.uniform(0.3, 2.0, outliers)
    return {
        "flux": flux + rng.normal(0, error),
        "magnitude": told,
        "flux_error": error,
        "magnitude_error": magnitude_error,
        "color": color,
        "place": (u, v),
    }


def test_the_color_term_comes_back_within_its_error_and_is_real():
    stars = colored_stars(outliers=12)
    found = fit_zero_point(**stars)
    assert found.color is not None
    assert found.color.slope == pytest.approx(0.06, abs=4 * found.color.error)
    # 108 stars of 0.015 mag over 0.35 mag of colour: 0.004
    assert found.color.error < 0.006
    expected = 25.3 + 0.06 * (found.color.reference - 0.6)
    assert found.value == pytest.approx(expected, abs=4 * found.error)
    assert found.error < 0.003
    assert 10 <= found.n_clipped <= 16


def test_errors_of_zero_point_and_terms_are_the_scatter_over_many_frames():
    pulls = []
    for seed in range(60):
        found = fit_zero_point(**colored_stars(seed=seed, trend=(0.05, -0.03)))
        expected = 25.3 + 0.06 * (found.color.reference - 0.6)
        pulls.append(
            [
                (found.value - expected) / found.error,
                (found.color.slope - 0.06) / found.color.error,
                (found.trend.along_x - 0.05) / found.trend.error_x,
                (found.trend.along_y + 0.03) / found.trend.error_y,
            ]
        )
    # the width of 60 unit deviates scatters by 0.09, their mean by 0.13
    assert np.std(pulls, axis=0) == pytest.approx(np.ones(4), abs=0.3)
    assert np.mean(pulls, axis=0) == pytest.approx(np.zeros(4), abs=0.45)


def test_the_intrinsic_scatter_is_what_the_errors_do_not_explain():
    scatters = [fit_zero_point(**colored_stars(seed=seed)).sigma_int for seed in range(20)]
    # 120 stars tell it to 8 %, 20 frames to 2 %
    assert np.mean(scatters) == pytest.approx(0.012, rel=0.1)
    assert fit_zero_point(**colored_stars(scatter=0.0)).sigma_int < 0.004


def test_few_stars_or_one_color_give_no_color_term():
    few = colored_stars(19)
    assert fit_zero_point(**few).color is None
    alike = colored_stars(120)
    alike["color"] = 0.6 + 0.1 * (alike["color"] - 0.6)
    assert fit_zero_point(**alike).color is None
    assert fit_zero_point(**{**alike, "color": None}).color is None


def test_stars_without_a_color_are_left_out_where_there_is_a_term():
    stars = colored_stars(120)
    stars["color"][::3] = np.nan
    found = fit_zero_point(**stars)
    assert found.color is not None
    assert 74 <= found.n_stars <= 80


def test_a_trend_is_applied_only_where_it_stands_out():
    found = fit_zero_point(**colored_stars(trend=(0.05, -0.03)))
    assert found.trend.is_applied
    assert found.trend.significance > 4
    none = [fit_zero_point(**colored_stars(seed=seed)).trend for seed in range(40)]
    assert not any(trend.is_applied for trend in none)
    # of 40 without a trend two exceed 2 sigma by chance, and hardly ever eight
    assert sum(trend.significance > 2 for trend in none) < 8
    assert fit_zero_point(**colored_stars(29, trend=(0.05, -0.03))).trend is None


def test_stars_of_one_corner_measure_no_trend():
    stars = colored_stars(120, trend=(0.05, -0.03))
    stars["place"] = tuple(0.7 + 0.2 * part for part in stars["place"])
    assert fit_zero_point(**stars).trend is None


def test_taking_the_trend_out_makes_the_zero_point_the_same_all_over():
    rng = np.random.default_rng(5)
    n, shape = 200, (100, 160)
    x, y = rng.uniform(0, 159, n), rng.uniform(0, 99, n)
    u, v = 2 * x / 159 - 1, 2 * y / 99 - 1
    magnitude = rng.uniform(15, 17, n)
    flux = 10 ** (-0.4 * (magnitude - 25.0 - 0.08 * u + 0.05 * v))
    error = 0.003 * flux
    stars = StarList(x, y, flux, error, flux, np.ones(n, dtype=np.bool_))
    found = fit_zero_point(flux, magnitude, flux_error=error, place=(u, v))
    image = blank().with_(
        data=np.ones(shape, np.float32),
        mask=np.zeros(shape, np.uint16),
        variance=np.full(shape, 4.0, np.float32),
    )
    level, same = apply_trend(image, stars, found)
    offsets = magnitude + 2.5 * np.log10(same.flux)
    assert np.ptp(offsets) < 0.01
    assert same.snr == pytest.approx(stars.snr)
    # pixels follow their stars, and noise its pixels
    i = int(np.argmax(u - v))
    row, column = round(y[i]), round(x[i])
    assert level.data[row, column] == pytest.approx(same.flux[i] / flux[i], rel=2e-3)
    assert level.variance == pytest.approx(4.0 * level.data**2, rel=1e-5)
    assert apply_trend(image, stars, header_zero_point(image))[0] is image


def test_two_stars_cannot_claim_one_entry_of_the_catalogue():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [50.5, 50.5]
    wcs.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) / 3600
    flux, magnitude, error = measured_stars(30)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(5, 95, 30), rng.uniform(5, 95, 30)
    ra, dec = wcs.all_pix2world(x, y, 0)
    twice = [np.concatenate([part, part]) for part in (x + 0.05, y, flux, error)]
    twice[0][30:] = x + 1.5
    stars = StarList(*twice, twice[2], np.ones(60, dtype=np.bool_))
    found = calibrate_zero_point(blank(wcs=wcs), stars, CatalogStars(ra, dec, magnitude))
    assert found.n_stars + found.n_clipped <= 30
