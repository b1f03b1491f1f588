"""Cosmic rays are found, and stars are not."""

from __future__ import annotations

import numpy as np
import pytest

from preprocessing.algorithms.cosmic_rays import mask_cosmic_rays, sharpest_ratios
from preprocessing.algorithms.moffat import moffat_of_fwhm


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


@pytest.mark.parametrize("fwhm", [1.6, 2.2, 3.0, 5.0])
def test_stars_lose_no_pixel(make_field, fwhm):
    field = make_field(n_stars=300, fwhm=fwhm, n_galaxies=20, flux_range=(300.0, 5e5))
    assert find(field, field.image.data - 200.0, fwhm).sum() == 0


@pytest.mark.parametrize(("fwhm", "least"), [(1.6, 0.9), (3.0, 0.97)])
def test_cosmic_rays_are_found(make_field, fwhm, least):
    field = make_field(fwhm=fwhm, seed=3)
    data, hit = with_tracks(field)
    found = find(field, data, fwhm)
    assert (found & hit).sum() / hit.sum() > least
    touched = np.zeros_like(hit)
    rows, columns = np.nonzero(hit)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            touched[rows + dy, columns + dx] = True
    assert (found & ~touched).sum() == 0


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
    assert mask_cosmic_rays(data, sky, bad=bad, psf=moffat_of_fwhm(3.0)).sum() == 0
