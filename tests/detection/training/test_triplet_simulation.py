"""Simulated triplets show what their labels say."""

from __future__ import annotations

import numpy as np
import pytest

from detection.training.pair_chain import TRAINING_THRESHOLD
from detection.training.triplet_delivery import deliver
from detection.training.triplet_engine import simulate_engine_triplets
from detection.training.triplet_samples import join_samples
from detection.training.triplet_scene import (
    MIDDLE,
    SCENE,
    Galaxies,
    Psf,
    render_galaxies,
    render_points,
)
from detection.training.triplet_simulation import BOGUS_KINDS, REAL_KINDS, simulate_triplets


def test_points_keep_their_flux_place_and_width() -> None:
    psf = Psf(fwhm=3.0, wing=0.1)
    image = render_points(psf, np.array([40.3]), np.array([35.8]), flux=np.array([500.0]))
    y, x = np.mgrid[:SCENE, :SCENE]
    assert image.sum() == pytest.approx(500.0, rel=1e-3)
    assert (image * x).sum() / image.sum() == pytest.approx(40.3, abs=0.01)
    assert (image * y).sum() / image.sum() == pytest.approx(35.8, abs=0.01)
    # the core's Gaussian holds 88 % of the light: at half its width the value is a half or more
    peak = Psf(fwhm=3.0, wing=0.0)
    narrow = render_points(peak, np.array([MIDDLE]), np.array([MIDDLE]), flux=np.ones(1))
    middle = int(MIDDLE)
    edge = np.interp(1.5, [1, 2], [narrow[middle, middle + 1], narrow[middle, middle + 2]])
    # linear interpolation between pixels lies up to 2 % above the Gaussian
    assert edge / narrow[middle, middle] == pytest.approx(0.5, abs=0.02)


def test_a_galaxy_keeps_its_flux_and_is_wider_than_a_point() -> None:
    psf = Psf(fwhm=2.5)
    one = np.ones(1)
    galaxy = Galaxies(
        x=MIDDLE * one,
        y=MIDDLE * one,
        flux=800 * one,
        radius=4 * one,
        axis_ratio=0.5 * one,
        angle=0.0 * one,
        is_bulge=np.array([False]),
    )
    image = render_galaxies(psf, galaxy)
    assert image.sum() == pytest.approx(800.0, rel=0.02)
    point = render_points(psf, galaxy.x, galaxy.y, flux=galaxy.flux)
    assert image.max() < point.max() / 3
    x = np.arange(SCENE) - MIDDLE
    along, across = ((image.sum(axis) * x**2).sum() for axis in (0, 1))
    assert along > 2 * across


def test_one_sky_is_one_group_and_the_same_for_the_same_seed() -> None:
    first, again, other = (simulate_triplets(seed, n=8) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.triplets, again.triplets)
    assert len(set(first.group)) == 1
    assert first.group[0] != other.group[0]
    assert set(first.kind[first.is_real]) <= set(REAL_KINDS)
    assert set(first.kind[~first.is_real]) <= set(BOGUS_KINDS)


def test_what_is_real_is_significant_in_the_middle_of_the_difference() -> None:
    samples = join_samples([simulate_triplets(seed, n=12) for seed in range(12)])
    real = samples.select(samples.is_real)
    difference = real.triplets[..., 2]
    # cutouts framed in zeros or nothing have no noise to compare with
    seen = (np.isfinite(difference) & (difference != 0)).mean(axis=(1, 2)) > 0.7
    level = np.nanmedian(difference[seen], axis=(1, 2))
    noise = 1.4826 * np.nanmedian(np.abs(difference[seen] - level[:, None, None]), axis=(1, 2))
    core = np.nanmean(np.abs(difference[seen, 29:34, 29:34] - level[:, None, None]), axis=(1, 2))
    # noise alone has a mean modulus of 0.8
    assert np.median(core / noise) > 3.0
    assert (samples.snr >= 4.0).all()


def test_delivery_changes_neither_shape_nor_type_and_not_its_input() -> None:
    planes = np.random.default_rng(1).normal(0, 1, (63, 63, 3)).astype(np.float32)
    before = planes.copy()
    delivered = [deliver(planes, np.random.default_rng(seed)) for seed in range(60)]
    np.testing.assert_array_equal(planes, before)
    assert {d.shape for d in delivered} == {(63, 63, 3)}
    assert {d.dtype for d in delivered} == {np.dtype(np.float32)}
    changed = sum(not np.array_equal(d, planes) for d in delivered)
    assert 25 < changed < 55


def test_the_engine_finds_labels_and_cuts_its_own_candidates() -> None:
    samples = simulate_engine_triplets(5001)
    assert samples.triplets.shape[1:] == (63, 63, 3)
    assert samples.is_real.any()
    assert (~samples.is_real).any()
    assert (samples.snr >= TRAINING_THRESHOLD).all()
    assert set(samples.group) == {"engine-5001"}
    real = samples.triplets[samples.is_real]
    core = np.abs(np.nanmean(real[:, 30:33, 30:33, 2], axis=(1, 2)))
    around = np.nanstd(real[:, :15, :, 2], axis=(1, 2))
    assert np.nanmedian(core / around) > 2.0
