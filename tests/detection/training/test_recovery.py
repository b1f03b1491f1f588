"""Sources put into a frame: their light, their distance from each other, their share found."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.image import Image
from astrid_site.imaging.psf import constant_psf
from detection.training.recovery import Sources, completeness, draw_sources, put_sources

SHAPE = (256, 256)


@pytest.fixture
def frame() -> Image:
    y, x = np.mgrid[-12:13, -12:13]
    stamp = np.exp(-0.5 * (x**2 + y**2) / 1.274**2)
    psf = constant_psf((stamp / stamp.sum()).astype(np.float32), shape=SHAPE)
    zeros = np.zeros(SHAPE, np.float32)
    return Image(data=zeros, mask=zeros.astype(np.uint16), psf=psf, zero_point=25.0)


def draw(frame: Image, galaxies: np.ndarray, taken: np.ndarray) -> Sources:
    rng = np.random.default_rng(2)
    return draw_sources(frame, galaxies, taken, magnitudes=(18.0, 21.0), rng=rng)


def test_sources_stand_apart_and_off_what_is_there(frame: Image) -> None:
    galaxies, taken = np.array([[60.0, 60.0], [180.0, 150.0]]), np.array([[128.0, 128.0]])
    found = draw(frame, galaxies, taken)
    apart = np.hypot(*(np.subtract.outer(v, v) for v in (found.x, found.y)))
    assert len(found) >= 6
    assert apart[~np.eye(len(found), dtype=bool)].min() >= 16 * 3.0
    assert np.hypot(found.x - 128, found.y - 128).min() >= 9.0
    assert (found.host_fwhm <= 3.0).any()
    assert np.isnan(draw(frame, galaxies[:0], taken[:0]).host_fwhm).all()


def test_light_put_in_is_that_of_the_magnitude(frame: Image) -> None:
    found = draw(frame, np.zeros((0, 2)), np.zeros((0, 2)))
    rng = np.random.default_rng(1)
    made = put_sources(frame, found, frame.psf, gain=None, rng=rng)
    assert made.data.sum() == pytest.approx(
        (10 ** (-0.4 * (found.magnitude - 25.0))).sum(), rel=1e-3
    )
    assert not frame.data.any()
    noisy = put_sources(frame, found, frame.psf, gain=2.0, rng=rng)
    # n electrons scatter by their root
    electrons = 2.0 * found.flux.sum()
    assert 2.0 * noisy.data.sum() == pytest.approx(electrons, abs=5 * np.sqrt(electrons))


def test_completeness_counts_each_bin_with_its_interval() -> None:
    values = np.array([18.1, 18.2, 18.7, 18.8, np.nan])
    bins = completeness(values, np.array([True, True, True, False, True]), [18.0, 18.5, 19.0, 19.5])
    assert [(b.n, b.n_found) for b in bins] == [(2, 2), (2, 1)]
    # Wilson's interval of 1 in 2
    assert (bins[1].share.low, bins[1].share.high) == pytest.approx((0.0945, 0.9055), abs=1e-4)
