"""Finding sources and telling the stars among them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.psf import constant_psf
from preprocessing.algorithms.stars import contamination, find_stars, stellar_locus


def calibrated(field):
    variance = field.sky_sigma**2 + np.maximum(field.light, 0) / 2.0
    return field.image.with_(
        data=field.image.data - np.float32(200), variance=variance.astype(np.float32)
    )


def test_bright_stars_are_found_where_they_are(make_field):
    field = make_field(n_stars=40, flux_range=(3000.0, 1e5))
    stars = find_stars(calibrated(field))
    distance, _ = cKDTree(np.column_stack([stars.x, stars.y])).query(
        np.column_stack([field.x, field.y])
    )
    assert (distance < 0.5).mean() > 0.9
    clean = stars.select(stars.is_star & (stars.snr > 100))
    distance, _ = cKDTree(np.column_stack([field.x, field.y])).query(
        np.column_stack([clean.x, clean.y])
    )
    # FWHM / (2.35 S/N) = 0.013 pixel per axis
    assert np.median(distance) < 0.03


def test_galaxies_are_not_stars(make_field):
    field = make_field(n_stars=60, n_galaxies=60, flux_range=(3000.0, 1e5), seed=6)
    stars = find_stars(calibrated(field))
    clean = stars.select(stars.is_star)
    distance, _ = cKDTree(np.column_stack([field.x, field.y])).query(
        np.column_stack([clean.x, clean.y])
    )
    assert len(clean) > 20
    assert (distance > 1.0).mean() < 0.1


def test_the_list_is_sorted_by_flux(make_field):
    stars = find_stars(calibrated(make_field()))
    assert np.all(np.diff(stars.flux) <= 0)


def test_a_masked_core_and_a_saturated_peak_are_not_clean(make_field):
    field = make_field(
        x=np.array([60.0, 150.0, 250.0]),
        y=np.array([60.0, 150.0, 250.0]),
        flux=np.array([2e4, 2e4, 2e4]),
    )
    image = calibrated(field)
    mask = image.mask.copy()
    mask[61, 60] = 4
    stars = find_stars(image.with_(mask=mask, saturation=1e5), fwhm_guess_pix=3.0)
    near = np.hypot(stars.x - 60, stars.y - 60) < 3
    assert not stars.is_star[near].any()
    assert stars.is_star[~near].all()
    assert not find_stars(image.with_(saturation=500.0)).is_star.any()


def test_blank_sky_has_no_stars():
    data = np.random.default_rng(1).normal(0, 1, (128, 128)).astype(np.float32)
    image = Image(
        data=data, mask=np.zeros(data.shape, dtype=np.uint16), variance=np.ones_like(data)
    )
    assert len(find_stars(image, threshold=6.0)) == 0


def test_the_variance_is_required(make_field):
    with pytest.raises(ValueError, match="variance"):
        find_stars(make_field().image)


def test_the_locus_is_the_stars_even_where_galaxies_outnumber_them():
    rng = np.random.default_rng(2)
    radii = np.concatenate([1.5 * np.exp(rng.normal(0, 0.02, 25)), rng.uniform(1.8, 6.0, 200)])
    assert stellar_locus(radii) == pytest.approx(1.5, rel=0.03)


def test_contamination_counts_the_flux_of_neighbours(make_field):
    field = make_field(
        x=np.array([100.0, 106.0, 250.0]),
        y=np.array([100.0, 100.0, 250.0]),
        flux=np.array([2e4, 1e4, 2e4]),
    )
    stars = find_stars(calibrated(field), fwhm_guess_pix=3.0)
    bright = int(np.argmin(np.hypot(stars.x - 100, stars.y - 100)))
    alone = int(np.argmin(np.hypot(stars.x - 250, stars.y - 250)))
    found = contamination(stars, radius=9.0)
    assert found[alone] == 0.0
    assert found[bright] == pytest.approx(0.5, abs=0.15)


def test_what_the_extraction_gives_up_on_is_told(make_field, monkeypatch):
    field = calibrated(make_field())
    monkeypatch.setattr("preprocessing.algorithms.stars._LEAST_BUFFER", 10)
    with pytest.raises(AlgorithmError, match="cannot be told apart") as caught:
        find_stars(field.with_(variance=np.full(field.shape, 1e-6, np.float32)))
    assert caught.value.numbers["n_pixels"] == field.data.size


def draw_round(places, sigma, *, shape=(300, 300), flux=3e4):
    y, x = np.indices(shape)
    data = np.zeros(shape)
    for place_x, place_y in places:
        data += flux * np.exp(-((x - place_x) ** 2 + (y - place_y) ** 2) / (2 * sigma**2))
    return data / (2 * np.pi * sigma**2)


def observe(light, mask=None):
    noise = np.random.default_rng(4).normal(0, 5, light.shape)
    return Image(
        data=(light + noise).astype(np.float32),
        mask=np.zeros(light.shape, dtype=np.uint16) if mask is None else mask,
        variance=np.full(light.shape, 25.0, dtype=np.float32),
        wcs=None,
    )


def test_a_known_psf_tells_the_few_stars_among_many_galaxies_of_one_size():
    stars_at = [(60.0, 60.0), (150.0, 240.0), (240.0, 90.0)]
    galaxies_at = [(x, y) for x in range(30, 300, 45) for y in range(30, 300, 45)]
    image = observe(draw_round(stars_at, 1.2) + draw_round(galaxies_at, 2.4))
    psf = constant_psf(draw_round([(12.0, 12.0)], 1.2, shape=(25, 25)), shape=image.shape)
    found = find_stars(image, fwhm_guess_pix=psf.fwhm_pix, psf=psf)
    marked = np.column_stack([found.x, found.y])[found.is_star]
    distance, nearest = cKDTree(stars_at).query(marked)
    assert sorted(nearest) == [0, 1, 2]
    assert np.all(distance < 0.5)
    # their own sizes speak for the galaxies
    alone = find_stars(image, fwhm_guess_pix=psf.fwhm_pix)
    assert alone.is_star.sum() > 20


def test_a_source_whose_aperture_is_masked_altogether_is_none():
    light = draw_round([(100.0, 100.0)], 6.0, flux=1e6) + draw_round([(200.0, 200.0)], 1.5)
    y, x = np.indices(light.shape)
    mask = np.where(np.hypot(x - 100, y - 100) < 9, MaskPlane.SATURATED, 0).astype(np.uint16)
    found = find_stars(observe(light, mask), fwhm_guess_pix=3.0)
    assert np.all(np.isfinite(found.flux))
    assert found.is_star.tolist().count(True) == 1


def test_the_bright_stars_of_a_crowd_are_all_found(make_field):
    """One blend holds hundreds of stars; told apart by significance, 29 % of these are lost."""
    rng = np.random.default_rng(9)
    flux = 10 ** (3.0 + 3.0 * rng.uniform(0, 1, 1000) ** 2)
    x, y = rng.uniform(10, 374, (2, flux.size))
    field = make_field(x=x, y=y, flux=flux, seed=9)
    stars = find_stars(calibrated(field), fwhm_guess_pix=3.0, confusion=0.6)
    bright = flux > 1e5
    distance, _ = cKDTree(np.column_stack([stars.x, stars.y])).query(np.column_stack([x, y]))
    among = cKDTree(np.column_stack([x[bright], y[bright]]))
    lone = bright & (among.query(np.column_stack([x, y]), k=2)[0][:, 1] > 6.0)
    assert lone.sum() > 100
    assert (distance[lone] < 1.0).mean() > 0.97
