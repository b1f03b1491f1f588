"""The error around bright stars, against residuals of known size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.psf import constant_psf
from differencing.algorithms.halo_error import add_halo_error, measure_halo_error
from differencing.algorithms.tiles import Filtered
from preprocessing.algorithms.stars import StarList

SIDE, N_STARS, LIGHT, SHARE = 400, 25, 1e4, 1e-3


@pytest.fixture
def field() -> tuple[Filtered, StarList]:
    """Stars of S/N 10^4 on a grid, each leaving a thousandth of its light from 9 to 11 pixels."""
    rng = np.random.default_rng(11)
    centre = np.arange(40, SIDE, 80)
    x, y = (axis.ravel().astype(float) for axis in np.meshgrid(centre, centre))
    signal = rng.normal(0.0, 1.0, (SIDE, SIDE)).astype(np.float32)
    static = np.zeros_like(signal)
    rows, columns = np.indices(signal.shape)
    for column, row in zip(x, y, strict=True):
        radius = np.hypot(columns - column, rows - row)
        ring = (radius >= 9) & (radius < 11)
        signal[ring] += rng.normal(0.0, SHARE * LIGHT, int(ring.sum())).astype(np.float32)
        static[int(row), int(column)] = LIGHT
    one = np.ones_like(signal)
    stamp = np.zeros((9, 9), np.float32)
    stamp[4, 4] = 1.0
    psf = constant_psf(stamp, shape=signal.shape)
    filtered = Filtered(signal, one, signal, one.copy(), static, np.zeros(signal.shape, bool), psf)
    flux = np.full(N_STARS, LIGHT)
    stars = StarList(
        x=x, y=y, flux=flux, flux_error=np.ones(N_STARS), peak=flux,
        is_star=np.ones(N_STARS, dtype=bool),
    )  # fmt: skip
    return filtered, stars


def test_the_share_left_in_each_ring_is_measured(field: tuple[Filtered, StarList]) -> None:
    error = measure_halo_error(*field)
    # 125 pixels in the ring and 25 stars: 5 % covers the scatter of the median mean square
    assert error.share[3] == pytest.approx(SHARE, rel=0.05)
    # noise of unit variance leaves a tenth of a sigma in a ring of a hundred pixels
    assert error.share[[0, 1, 2, 4, 5, 6]].max() < 0.4 / LIGHT


def test_the_variance_grows_in_that_ring_alone(field: tuple[Filtered, StarList]) -> None:
    filtered, stars = field
    wider = add_halo_error(filtered, stars, measure_halo_error(filtered, stars))
    assert wider.signal_variance[40, 50] == pytest.approx(1 + (SHARE * LIGHT) ** 2, rel=0.1)
    assert wider.signal_variance[40, 46] < 1.2
    assert wider.signal_variance[80, 80] == 1.0
    assert wider.variance[40, 50] > 10.0


def test_a_field_of_galaxies_has_no_halo_error(field: tuple[Filtered, StarList]) -> None:
    filtered, stars = field
    galaxies = replace(stars, is_star=np.zeros(N_STARS, dtype=bool))
    error = measure_halo_error(filtered, galaxies)
    assert not error.share.any()
    assert add_halo_error(filtered, galaxies, error) is filtered


def test_a_star_whose_middle_is_masked_has_its_halo(field: tuple[Filtered, StarList]) -> None:
    filtered, stars = field
    error = measure_halo_error(filtered, stars)
    filtered.bad[38:43, 38:43] = True
    # masked, it is no star of the science image
    left = np.flatnonzero((stars.x != 40) | (stars.y != 40))
    wider = add_halo_error(filtered, stars.select(left), error)
    assert wider.signal_variance[40, 50] == pytest.approx(1 + (SHARE * LIGHT) ** 2, rel=0.1)
