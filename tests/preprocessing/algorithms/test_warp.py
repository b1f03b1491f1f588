"""Resampling: flux, variance, mask and PSF on the new grid."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.moffat import Moffat, moffat_of_fwhm
from astrid_site.imaging.psf import constant_psf
from preprocessing.algorithms.plane_map import affine_map
from preprocessing.algorithms.registration import Registration
from preprocessing.algorithms.warp import lanczos_kernel, warp

SHAPE = (200, 220)


def registration(matrix=((1.0, 0.0), (0.0, 1.0)), offset=(0.0, 0.0)):
    step = affine_map(np.array(matrix), np.array(offset), shape=SHAPE)
    return Registration((step,), 10, 0.01, None, "stars", 1.0, 0.01, 1.0)


def turn(angle, scale=1.0, flip=False):
    c, s = np.cos(angle), np.sin(angle)
    matrix = scale * np.array([[c, -s], [s, c]])
    return matrix @ np.diag([-1.0, 1.0]) if flip else matrix


def centred(matrix, shape=SHAPE):
    """Registration that turns about the middle of the frame."""
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    return registration(matrix, middle - matrix @ middle)


def frame(data, variance=None, mask=None, psf=None):
    mask = np.zeros(data.shape, dtype=np.uint16) if mask is None else mask
    return Image(data=data.astype(np.float32), mask=mask, variance=variance, psf=psf)


def star(x, y, flux=1000.0, fwhm=3.0):
    columns, rows = np.meshgrid(np.arange(SHAPE[1]) - x, np.arange(SHAPE[0]) - y)
    return flux * moffat_of_fwhm(fwhm).image(columns.astype(float), rows.astype(float))


def test_a_shift_by_whole_pixels_is_exact():
    data = np.random.default_rng(1).normal(0, 1, SHAPE)
    warped = warp(frame(data), registration(offset=(7.0, -4.0)), shape=SHAPE)
    inside = warped.mask == 0
    expected = np.roll(data, (4, -7), axis=(0, 1))
    assert inside[20:-20, 20:-20].all()
    assert np.abs(warped.data - expected)[inside].max() < 1e-5


@pytest.mark.parametrize(
    "matrix",
    [turn(0.3), turn(np.pi), turn(0.1, 1.7), turn(0.5, 0.6, flip=True)],
    ids=["turned", "upside down", "coarser", "finer mirrored"],
)
def test_the_flux_of_a_star_is_kept(matrix):
    mapping = centred(matrix)
    x, y = 120.3, 93.8
    at_x, at_y = mapping.to_reference(np.array([x]), np.array([y]))
    warped = warp(frame(star(at_x[0], at_y[0], fwhm=4.0)), mapping, shape=SHAPE)
    radius = 25 / np.sqrt(abs(np.linalg.det(matrix)))
    columns, rows = np.meshgrid(np.arange(SHAPE[1]) - x, np.arange(SHAPE[0]) - y)
    near = np.hypot(columns, rows) < radius
    core = Moffat(moffat_of_fwhm(4.0).width, 3.0)
    beyond = (1 + (25 / core.width) ** 2) ** (1 - core.beta)
    assert warped.data[near].sum() == pytest.approx(1000.0 * (1 - beyond), rel=0.003)
    total = warped.data[near].sum()
    assert (warped.data * columns)[near].sum() / total == pytest.approx(0.0, abs=0.02)
    assert (warped.data * rows)[near].sum() / total == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("matrix", [turn(0.4), turn(0.2, 1.8), turn(0.2, 0.5)])
def test_the_variance_is_the_scatter_of_warped_noise(matrix):
    rng = np.random.default_rng(2)
    mapping = centred(matrix)
    variance = np.full(SHAPE, 9.0, dtype=np.float32)
    noise = frame(rng.normal(0, 3.0, SHAPE), variance=variance)
    warped = warp(noise, mapping, shape=SHAPE)
    good = warped.mask == 0
    pulls = warped.data[good] / np.sqrt(warped.variance[good])
    # neighbours are correlated: an effective 5000 independent pixels or more
    assert pulls.std() == pytest.approx(1.0, abs=0.05)


def test_a_bad_pixel_flags_the_footprint_of_the_kernel_with_its_planes():
    mask = np.zeros(SHAPE, dtype=np.uint16)
    mask[100, 110] = MaskPlane.COSMIC_RAY
    warped = warp(frame(np.zeros(SHAPE), mask=mask), registration(offset=(0.5, 0.5)), shape=SHAPE)
    flagged = is_bad(warped.mask, MaskPlane.COSMIC_RAY)
    rows, columns = np.nonzero(flagged)
    assert (rows.min(), rows.max()) == (97, 102)
    assert (columns.min(), columns.max()) == (107, 112)
    assert flagged.sum() == 36


def test_pixels_outside_the_reference_have_no_data():
    warped = warp(frame(np.ones(SHAPE)), registration(offset=(50.0, 0.0)), shape=SHAPE)
    outside = is_bad(warped.mask, MaskPlane.NO_DATA)
    assert outside[:, -50:].all()
    assert not outside[5:-5, 5:-60].any()
    assert np.all(warped.data[outside] == 0)


def test_a_frame_of_another_shape_is_filled():
    warped = warp(frame(np.ones(SHAPE)), registration(), shape=(150, 90))
    assert warped.data.shape == (150, 90)
    assert np.allclose(warped.data[5:-5, 5:-5], 1.0, atol=1e-5)


@pytest.mark.parametrize("matrix", [turn(0.5), turn(0.0, 1.5), turn(0.3, 0.7, flip=True)])
def test_the_psf_is_warped_as_stars_are(matrix):
    mapping = centred(matrix)
    shape_psf = Moffat(moffat_of_fwhm(4.5).width, 3.0, 0.15, 0.05)
    image = shape_psf.cutouts(np.zeros(1), np.zeros(1), half=20)[0].astype(np.float32)
    psf = constant_psf(image, shape=SHAPE)
    x, y = 110.0, 100.0
    at_x, at_y = mapping.to_reference(np.array([x]), np.array([y]))
    columns, rows = np.meshgrid(np.arange(SHAPE[1]) - at_x[0], np.arange(SHAPE[0]) - at_y[0])
    data = shape_psf.image(columns.astype(float), rows.astype(float))
    warped = warp(frame(data, psf=psf), mapping, shape=SHAPE)
    found = warped.psf.at(x, y)[0]
    half = found.shape[0] // 2
    cut = warped.data[100 - half : 101 + half, 110 - half : 111 + half]
    assert np.abs(found - cut / cut.sum()).max() < 0.01 * found.max()
    assert found.sum() == pytest.approx(1.0, abs=1e-5)


def test_the_weights_of_every_phase_sum_to_one():
    for stretch in (1.0, 1.4, 3.0):
        kernel = lanczos_kernel(stretch)
        assert np.allclose(kernel.weights.sum(axis=1), 1.0, atol=1e-5)
