"""Stars too narrow to interpolate are resampled by their own profile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf

from astrid_site.imaging.continuous_psf import continuous_psf, integrated
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.moffat import moffat_of_fwhm
from astrid_site.imaging.psf import constant_psf
from preprocessing.algorithms import warp as warping
from preprocessing.algorithms.plane_map import affine_map
from preprocessing.algorithms.registration import Registration
from preprocessing.algorithms.warp import warp
from preprocessing.algorithms.warp_stars import find_point_sources

REFERENCE, SCIENCE = (150, 150), (240, 240)
#: Science pixels half as wide as the reference's, hardly turned.
MATRIX = 0.5 * np.array([[1.0, 0.002], [-0.002, 1.0]])
OFFSET = np.array([9.3, 11.8])
NOISE = 1.0
FLUX = 20_000.0


def moffat_light(dx, dy):
    return integrated(moffat_of_fwhm(1.6, beta=3.2), dx, dy)


def lumpy_light(dx, dy):
    """A core, a lobe beside it and a wide skirt, all seen through a pixel: no Moffat at all."""

    def blob(x, y, sigma):
        def line(t):
            return 0.5 * (
                erf((t + 0.5) / (np.sqrt(2) * sigma)) - erf((t - 0.5) / (np.sqrt(2) * sigma))
            )

        return line(x) * line(y)

    return 0.7 * blob(dx, dy, 0.6) + 0.12 * blob(dx - 1.3, dy + 0.6, 0.6) + 0.18 * blob(dx, dy, 1.8)


def places():
    rng = np.random.default_rng(5)
    x, y = np.meshgrid(np.arange(25.0, 130.0, 16.0), np.arange(25.0, 130.0, 16.0))
    return x.ravel() + rng.uniform(-0.5, 0.5, x.size), y.ravel() + rng.uniform(-0.5, 0.5, x.size)


def scene(light, x, y, shape):
    data = np.zeros(shape)
    rows, columns = np.indices(shape)
    for star_x, star_y in zip(x, y, strict=True):
        data += FLUX * light(columns - star_x, rows - star_y)
    return data


def reference(light, *, noise=NOISE):
    x, y = places()
    data = scene(light, x, y, REFERENCE)
    data += np.random.default_rng(6).normal(0.0, noise, REFERENCE)
    offset = np.arange(-9.0, 10.0)
    psf = light(*np.meshgrid(offset, offset)).astype(np.float32)
    return Image(
        data=data.astype(np.float32),
        mask=np.zeros(REFERENCE, dtype=np.uint16),
        variance=np.full(REFERENCE, noise**2, dtype=np.float32),
        psf=constant_psf(psf, shape=REFERENCE, n_stars=49),
    )


def registration():
    step = affine_map(MATRIX, OFFSET, shape=SCIENCE)
    return Registration((step,), 10, 0.01, None, "stars", 1.0, 0.01, 1.0)


def truth(light):
    """What the science pixels would hold were the reference known between its pixels."""
    rows, columns = np.indices(SCIENCE)
    there = np.stack([columns, rows], axis=-1) @ MATRIX.T + OFFSET
    data = np.zeros(SCIENCE)
    for star_x, star_y in zip(*places(), strict=True):
        data += FLUX * light(there[..., 0] - star_x, there[..., 1] - star_y)
    return data * abs(np.linalg.det(MATRIX))


def worst(light, monkeypatch=None):
    """Largest error of the resampled stars, as a share of the highest pixel."""
    if monkeypatch is not None:
        monkeypatch.setattr(warping, "find_point_sources", lambda *_, **__: None)
    frame = replace(reference(light, noise=1e-3))
    made = warp(frame, registration(), shape=SCIENCE)
    inside = made.mask == 0
    expected = truth(light)
    return float(np.abs(made.data - expected)[inside].max() / expected.max())


def test_interpolation_alone_leaves_ghosts(monkeypatch):
    assert worst(moffat_light, monkeypatch) > 0.02


def test_stars_of_a_known_profile_are_resampled_without_ghosts():
    # a share of 0.002 of a star of S/N 300 is half a sigma of its noise
    assert worst(moffat_light) < 0.002


def wider_light(dx, dy):
    """Two and a half pixels wide: wide enough to be interpolated on a grid of equal pixels."""
    return integrated(moffat_of_fwhm(2.4, beta=3.2), dx, dy)


def test_on_finer_pixels_wider_stars_are_resampled_without_ghosts(monkeypatch):
    frame = reference(wider_light)
    assert find_point_sources(frame) is None
    assert find_point_sources(frame, step=0.5) is not None
    by_profile = worst(wider_light)
    # the finer grid has no noise at the frequencies of a ghost, so that a thousandth is seen
    assert by_profile < 0.001
    assert by_profile < 0.2 * worst(wider_light, monkeypatch)


def test_a_profile_that_is_no_moffat_is_resampled_better_than_by_interpolation(monkeypatch):
    by_profile = worst(lumpy_light)
    assert by_profile < 0.6 * worst(lumpy_light, monkeypatch)


def test_the_psf_of_the_new_grid_is_that_of_the_resampled_stars():
    made = warp(reference(moffat_light), registration(), shape=SCIENCE)
    half = made.psf.size // 2
    offset = np.arange(-half, half + 1.0)
    dx, dy = np.meshgrid(offset, offset)
    expected = moffat_light(
        MATRIX[0, 0] * dx + MATRIX[0, 1] * dy, MATRIX[1, 0] * dx + MATRIX[1, 1] * dy
    )
    found = made.psf.at(120.0, 120.0)[0]
    assert np.abs(found - expected / expected.sum()).max() < 0.003 * found.max()


def test_fluxes_and_places_of_blended_stars_are_found():
    x, y = np.array([40.3, 43.1, 90.7]), np.array([60.2, 61.9, 30.4])
    frame = reference(moffat_light)
    data = scene(moffat_light, x, y, REFERENCE)
    data += np.random.default_rng(7).normal(0.0, NOISE, REFERENCE)
    found = find_point_sources(frame.with_(data=data.astype(np.float32)))
    order = np.argsort(found.x)
    assert len(found) == 3
    # one part in 300 is the error granted to the profile; the photon noise is a tenth of that
    assert found.flux[order] == pytest.approx([FLUX] * 3, rel=0.005)
    assert found.x[order] == pytest.approx(x, abs=0.005)
    assert found.y[order] == pytest.approx(y, abs=0.005)


def test_light_that_is_no_star_is_kept():
    rows, columns = np.indices(REFERENCE)
    galaxy = 200.0 * np.exp(-np.hypot(columns - 75.4, (rows - 70.2) / 0.6) / 5.0)
    frame = reference(moffat_light)
    made = warp(frame.with_(data=galaxy.astype(np.float32)), registration(), shape=SCIENCE)
    assert made.data.sum() == pytest.approx(galaxy[11:131, 9:129].sum(), rel=0.01)


def test_a_wide_psf_or_one_without_a_variance_calls_for_nothing():
    frame = reference(moffat_light)
    wide = constant_psf(frame.psf.at(0.0, 0.0)[0], shape=REFERENCE)
    assert find_point_sources(frame.with_(psf=replace(wide, fwhm_pix=2.5))) is None
    assert find_point_sources(frame.with_(variance=None)) is None
    assert find_point_sources(frame.with_(psf=None)) is None
    dark = np.zeros(REFERENCE, dtype=np.float32)
    assert find_point_sources(frame.with_(data=dark)) is None


def test_a_star_beside_a_bad_pixel_is_left_to_interpolation():
    frame = reference(moffat_light)
    x, y = places()
    mask = frame.mask.copy()
    mask[round(y[0]), round(x[0]) + 1] = np.uint16(MaskPlane.BAD_PIXEL)
    found = find_point_sources(frame.with_(mask=mask))
    assert len(found) == len(x) - 1
    assert np.hypot(found.x - x[0], found.y - y[0]).min() > 10.0


def test_between_its_pixels_a_psf_is_what_made_them():
    frame = reference(moffat_light)
    profile = continuous_psf(frame.psf)
    dx, dy = np.meshgrid(np.linspace(-3.0, 3.0, 25), np.linspace(-3.0, 3.0, 25))
    offset = np.arange(-9.0, 10.0)
    total = moffat_light(*np.meshgrid(offset, offset)).sum()
    expected = moffat_light(dx, dy) / total
    found = profile.at(np.array([75.0]), np.array([75.0]), dx=dx[None], dy=dy[None])[0]
    assert np.abs(found - expected).max() < 0.002 * expected.max()
