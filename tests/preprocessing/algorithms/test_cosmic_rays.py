"""Cosmic rays are found, and stars are not."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.moffat import moffat_of_fwhm
from preprocessing.algorithms.cosmic_rays import mask_cosmic_rays, sharpest_ratios


def find(field, data, fwhm):
    sky = np.full(data.shape, field.sky_sigma**2, dtype=np.float32)
    bad = np.zeros(data.shape, dtype=np.bool_)
    return mask_cosmic_rays(data, sky, bad=bad, psf=moffat_of_fwhm(fwhm))


def with_tracks(field, n_tracks=40):
    rng = np.random.default_rng(9)
    data = field.image.data - 200.0
    hit = np.zeros(data.shape, dtype=np.bool_)
    ny, nx = data.shape
    for _ in range(n_tracks):
        angle, x, y = rng.uniform(0, np.pi), rng.uniform(20, nx - 20), rng.uniform(20, ny - 20)
        for step in range(rng.integers(1, 12)):
            row, column = int(y + step * np.sin(angle)), int(x + step * np.cos(angle))
            data[row, column] += rng.uniform(300, 5000)
            hit[row, column] = True
    return data, hit


def grown(flags, reach):
    out = flags.copy()
    rows, columns = np.nonzero(flags)
    ny, nx = flags.shape
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            out[np.clip(rows + dy, 0, ny - 1), np.clip(columns + dx, 0, nx - 1)] = True
    return out


@pytest.mark.parametrize("fwhm", [1.6, 2.2, 3.0, 5.0])
@pytest.mark.parametrize("ellipticity", [0.0, 0.2])
def test_stars_lose_no_pixel(make_field, fwhm, ellipticity):
    field = make_field(
        n_stars=300, fwhm=fwhm, n_galaxies=20, flux_range=(300.0, 5e5), ellipticity=ellipticity
    )
    found = find(field, field.image.data - 200.0, fwhm)
    assert (found & (field.light > field.sky_sigma)).sum() == 0
    # 4.5-sigma noise: 3e-6 of 147 000 sky pixels, for a handful of shapes, and what touches it
    assert found.sum() <= 15


@pytest.mark.parametrize("wrong", [0.9, 1.1])
def test_stars_survive_a_psf_that_is_wrong_by_a_tenth(make_field, wrong):
    field = make_field(n_stars=300, fwhm=2.8, flux_range=(300.0, 5e5), seed=6)
    found = find(field, field.image.data - 200.0, wrong * 2.8)
    assert (found & (field.light > field.sky_sigma)).sum() == 0


def test_a_crowd_of_stars_loses_no_pixel(make_field):
    field = make_field(n_stars=1500, fwhm=2.6, flux_range=(100.0, 1e5), seed=7)
    found = find(field, field.image.data - 200.0, 2.6)
    assert (found & (field.light > 2.0 * field.sky_sigma)).sum() == 0


@pytest.mark.parametrize(("fwhm", "least"), [(1.6, 0.9), (3.0, 0.99)])
def test_cosmic_rays_are_found(make_field, fwhm, least):
    field = make_field(fwhm=fwhm, seed=3)
    data, hit = with_tracks(field)
    found = find(field, data, fwhm)
    assert (found & hit).sum() / hit.sum() > least
    # beside a hit 2.5 sigma make a pixel part of it, and one pixel around is taken along
    assert (found & ~grown(hit, 3)).sum() == 0
    assert found.sum() < 3 * hit.sum()


@pytest.mark.parametrize(
    "shape", [((0, 0),), ((0, 0), (0, 1)), ((0, 0), (1, 1)), ((-1, 0), (0, 0), (1, 0))]
)
def test_faint_compact_hits_are_found_on_the_sky(make_field, shape):
    field = make_field(n_stars=5, fwhm=2.9, seed=8)
    data = field.image.data - 200.0
    rng = np.random.default_rng(2)
    rows, columns = rng.integers(8, 376, (2, 60))
    for dy, dx in shape:
        data[rows + dy, columns + dx] += 9.0 * field.sky_sigma
    found = find(field, data, 2.9)
    blank = field.light[rows, columns] < field.sky_sigma
    # a filter keeps 0.8 to 0.95 of each pixel's 9 sigma; 5 are needed
    assert found[rows, columns][blank].mean() > 0.97


def test_a_hit_on_a_star_leaves_the_rest_of_the_star(make_field):
    centre = np.array([190.0])
    field = make_field(x=centre, y=centre, flux=np.array([2e4]), fwhm=3.0)
    data = field.image.data - 200.0
    data[190, 193] += 3000.0
    found = find(field, data, 3.0)
    assert found[190, 193]
    assert not found[190, 190]
    assert found[150:230, 150:230].sum() <= 16


def test_the_sharpest_ratio_is_that_of_a_centred_star():
    psf = moffat_of_fwhm(2.0)
    centred = sharpest_ratios(psf)[0]
    for shift in np.linspace(-0.5, 0.5, 11):
        line = psf.image(np.arange(-1.0, 2.0) - shift, np.zeros(3))
        assert (line[0] + line[2]) / (2 * line[1]) >= centred - 1e-12


def test_masked_neighbours_do_not_make_a_star_a_cosmic_ray(make_field):
    field = make_field(n_stars=300, seed=4, flux_range=(3000.0, 2e5))
    data = field.image.data - 200.0
    bad = np.zeros(data.shape, dtype=np.bool_)
    bad[:, ::7] = True
    sky = np.full(data.shape, field.sky_sigma**2, dtype=np.float32)
    found = mask_cosmic_rays(data, sky, bad=bad, psf=moffat_of_fwhm(3.0))
    assert (found & (field.light > 5.0 * field.sky_sigma)).sum() == 0
    # one noise peak and what touches it
    assert found.sum() <= 9
