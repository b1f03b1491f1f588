"""No step of calibration changes the flux of a star or of an injected source."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.photometry import cut_psf_stamps, fit_stamp_fluxes
from astrid_site.imaging.simulation import SkyConfig, simulate_frame
from preprocessing.algorithms.preprocess import preprocess_image

#: Cosmic rays, bad columns, saturated stars and a satellite are all in the frame.
CONFIG = SkyConfig(seed=4, shape=(512, 512), satellites_per_frame=1.2, star_density_per_mpix=900.0)
MOST = 0.005


@pytest.fixture(scope="module")
def frame():
    return simulate_frame(CONFIG, field=0, epoch=3)


def with_sources(frame, rng, *, n=120):
    """The raw frame with bright point sources on a jittered grid, and where they are."""
    psf = frame.psf_truth
    half = psf.size // 2
    side = np.linspace(half + 4, 511 - half - 4, 11)
    x, y = (g.ravel() + rng.uniform(-3, 3, g.size) for g in np.meshgrid(side, side))
    flux = 10 ** rng.uniform(4.3, 5.0, x.size)
    data = frame.image.data.copy()
    raw = frame.image.with_(mask=frame.image.mask & np.uint16(MaskPlane.NO_DATA))
    blank = raw.with_(data=np.zeros_like(data))
    stamps = stamps_of(blank, frame, x, y)
    for i in range(x.size):
        rows = slice(round(y[i]) - half, round(y[i]) + half + 1)
        columns = slice(round(x[i]) - half, round(x[i]) + half + 1)
        data[rows, columns] += (flux[i] * stamps.psf[i]).astype(np.float32)
    return raw.with_(data=data), x, y, flux


def stamps_of(image, frame, x, y):
    return cut_psf_stamps(
        image.data, frame.variance_truth, frame.psf_truth, mask=image.mask, x=x, y=y
    )


def fluxes(image, frame, x, y):
    return fit_stamp_fluxes(stamps_of(image, frame, x, y)).flux


def test_injected_sources_keep_their_flux(frame):
    raw, x, y, flux = with_sources(frame, np.random.default_rng(1))
    done = preprocess_image(raw).image
    # the same pixels with the true sky taken off and the true mask
    before = raw.with_(
        data=np.where(is_bad(frame.image.mask), 0, raw.data - frame.sky_truth).astype(np.float32),
        mask=frame.image.mask,
    )
    ideal, measured = fluxes(before, frame, x, y), fluxes(done, frame, x, y)
    lone = np.isfinite(ideal) & (np.abs(ideal / flux - 1.0) < 0.05)
    assert lone.sum() > 60
    # what no true defect touches is never lost
    clean = lone & (fit_stamp_fluxes(stamps_of(before, frame, x, y)).mask_fraction == 0)
    assert np.isfinite(measured[clean]).all()
    change = measured[clean] / ideal[clean] - 1.0
    assert abs(np.median(change)) < MOST / 2
    assert np.percentile(np.abs(change), 90) < MOST


def test_the_masks_alone_change_no_flux(frame):
    raw, x, y, _ = with_sources(frame, np.random.default_rng(2))
    done = preprocess_image(raw).image
    unmasked = done.with_(mask=done.mask & np.uint16(MaskPlane.NO_DATA | MaskPlane.SATURATED))
    # a source that no true defect touches
    truth = done.with_(mask=frame.image.mask)
    untouched = fit_stamp_fluxes(stamps_of(truth, frame, x, y)).mask_fraction == 0
    with_masks, without = fluxes(done, frame, x, y), fluxes(unmasked, frame, x, y)
    change = with_masks[untouched] / without[untouched] - 1.0
    assert untouched.sum() > 40
    assert np.isfinite(change).all()
    # a noise peak taken for a cosmic ray costs one pixel of one source
    assert np.percentile(np.abs(change), 97) < MOST


def test_no_bright_star_loses_its_core(frame):
    done = preprocess_image(
        frame.image.with_(mask=frame.image.mask & np.uint16(MaskPlane.NO_DATA))
    ).image
    peaks = frame.image.data - frame.sky_truth > 60.0 * np.sqrt(frame.variance_truth)
    untouched = peaks & ~is_bad(frame.image.mask)
    near_true = is_bad(frame.image.mask)
    for axis in (0, 1):
        for _ in range(4):
            near_true |= np.roll(near_true, 1, axis) | np.roll(near_true, -1, axis)
    lost = untouched & ~near_true & is_bad(done.mask)
    assert untouched.sum() > 150
    assert lost.sum() == 0
