"""No step of calibration changes the flux of a star or of an injected source."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.moffat import moffat_of_fwhm
from astrid_site.imaging.photometry import cut_psf_stamps, fit_stamp_fluxes
from astrid_site.imaging.psf import constant_psf
from astrid_site.imaging.simulation import SkyConfig, simulate_frame
from differencing.algorithms.reference import coadd
from preprocessing.algorithms.plane_map import affine_map
from preprocessing.algorithms.preprocess import preprocess_image
from preprocessing.algorithms.registration import Registration
from preprocessing.algorithms.warp import warp

#: Cosmic rays, bad columns, saturated stars and a satellite are all in the frame.
CONFIG = SkyConfig(seed=4, shape=(512, 512), satellites_per_frame=1.2, star_density_per_mpix=900.0)
MOST = 0.005
GAIN, READ_NOISE = 1.5, 4.0


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


def injected(rng, *, sky, fwhm, n=700, n_stars=150):
    """A field of stars, and among them injected ones of 20,000 to 100,000 units.

    Returns the light without noise and sky, the pixels with both, and the injected sources.
    """
    side = np.linspace(50, n - 50, 10)
    x, y = (g.ravel() + rng.uniform(-3, 3, g.size) for g in np.meshgrid(side, side))
    flux = 10 ** rng.uniform(np.log10(2e4), 5.0, x.size)
    others = rng.uniform(0, n, (2, n_stars))
    light = np.zeros((n, n))
    faint = np.minimum(300.0 * (1.0 + rng.pareto(0.75, n_stars)), 2e5)
    for px, py, f in zip((*x, *others[0]), (*y, *others[1]), (*flux, *faint), strict=True):
        cut, profile = star_at(px, py, fwhm=fwhm, n=n)
        light[cut] += f * profile
    data = rng.poisson((light + sky) * GAIN) / GAIN + rng.normal(0.0, READ_NOISE, light.shape)
    return data, (x, y, flux)


def star_at(x, y, *, fwhm, n):
    """The pixels of a Moffat star (slope 3.2) and its share of light in each."""
    reach = int(8 * fwhm) + 4
    first, last = (np.clip([int(c) - reach, int(c) + reach + 1], 0, n) for c in (x, y))
    gx, gy = np.arange(*first) - x, np.arange(*last) - y
    core = fwhm / 2.0 / np.sqrt(2.0 ** (1.0 / 3.2) - 1.0)
    profile = (1.0 + (gx**2 + gy[:, None] ** 2) / core**2) ** -3.2 * 2.2 / np.pi / core**2
    return np.s_[last[0] : last[1], first[0] : first[1]], profile


def changes(before, after, sources, *, fwhm, variance):
    """Relative change of the PSF flux and of that within 2.5 FWHM, source by source."""
    table = []
    for x, y in zip(*sources[:2], strict=True):
        cut, profile = star_at(x, y, fwhm=fwhm, n=before.shape[0])
        rows, columns = cut
        far = np.hypot(
            np.arange(rows.start, rows.stop)[:, None] - y,
            np.arange(columns.start, columns.stop) - x,
        )
        within, weight = far < 2.5 * fwhm, profile / variance[cut]
        ratio = [(w * after[cut]).sum() / (w * before[cut]).sum() for w in (weight, within)]
        table.append(ratio)
    return np.array(table).T - 1.0


@pytest.mark.parametrize(
    ("level", "gradient", "fwhm"),
    [(250.0, 0.0, 2.0), (250.0, 0.0, 3.0), (600.0, 0.8, 3.0), (250.0, 0.0, 4.5), (250.0, 0.0, 6.0)],
)
def test_every_source_keeps_its_flux_through_the_whole_calibration(level, gradient, fwhm):
    y, x = (np.mgrid[:700, :700] - 349.5) / 700.0
    sky = level * (1.0 + gradient * x + 0.5 * gradient * y)
    data, sources = injected(np.random.default_rng(int(10 * fwhm)), sky=sky, fwhm=fwhm)
    image = Image(
        data.astype(np.float32),
        np.zeros(data.shape, np.uint16),
        gain=GAIN,
        read_noise=READ_NOISE * GAIN,
        saturation=6e5,
    )
    done = preprocess_image(image).image
    variance = np.maximum(data, level) / GAIN + READ_NOISE**2
    psf, aperture = changes(
        data - sky,
        np.where(is_bad(done.mask), data - sky, done.data),
        sources,
        fwhm=fwhm,
        variance=variance,
    )
    # the same noise before and after: what differs is the sky alone
    assert np.abs(psf).max() < MOST
    # a circle of 2.5 FWHM holds 20 FWHM^2 pixels of sky; the wings of all stars together lift it by
    # a hundredth of a pixel's noise, which at FWHM 6 is a quarter of what noise does to the circle
    sky_noise = np.sqrt(level / GAIN + READ_NOISE**2)
    noise = sky_noise * 2.5 * np.sqrt(np.pi) * fwhm
    assert (np.abs(aperture) < np.maximum(MOST, 0.5 * noise / sources[2])).all()
    assert np.percentile(np.abs(aperture), 90) < MOST
    # and no mask touches a source
    for px, py in zip(*sources[:2], strict=True):
        assert not is_bad(
            done.mask[round(py) - 1 : round(py) + 2, round(px) - 1 : round(px) + 2]
        ).any()


@pytest.mark.parametrize("fwhm", [2.0, 3.0, 4.5, 6.0])
@pytest.mark.parametrize("offset", [(0.5, 0.5), (0.37, -0.21)])
def test_every_source_keeps_its_flux_through_a_warp(fwhm, offset):
    _, (x, y, flux) = injected(np.random.default_rng(3), sky=np.array(0.0), fwhm=fwhm, n_stars=0)
    light = np.zeros((700, 700))
    for px, py, f in zip(x, y, flux, strict=True):
        cut, profile = star_at(px, py, fwhm=fwhm, n=700)
        light[cut] += f * profile
    step = affine_map(np.eye(2), np.array(offset), shape=light.shape)
    image = Image(light.astype(np.float32), np.zeros(light.shape, np.uint16))
    registration = Registration((step,), 10, 0.01, None, "stars", 1.0, 0.01, 1.0)
    moved = warp(image, registration, shape=light.shape).data
    for px, py, f in zip(x, y, flux, strict=True):
        before, after = (
            disc(plane, cx, cy, radius=4.0 * fwhm)
            for plane, cx, cy in ((light, px, py), (moved, px - offset[0], py - offset[1]))
        )
        # without noise; pixels cut by the circle's edge, where a star is 1 % of its light, count
        # whole or not at all
        assert abs(after - before) / f < MOST


def disc(plane, x, y, *, radius):
    rows, columns = np.ogrid[: plane.shape[0], : plane.shape[1]]
    return float(plane[np.hypot(rows - y, columns - x) < radius].sum())


def test_every_source_keeps_its_flux_in_a_stack():
    rng = np.random.default_rng(4)
    light = np.zeros((700, 700))
    _, sources = injected(rng, sky=np.array(0.0), fwhm=3.0, n_stars=0)
    for px, py, f in zip(*sources, strict=True):
        cut, profile = star_at(px, py, fwhm=3.0, n=700)
        light[cut] += f * profile
    variance = (np.maximum(light, 0.0) + 250.0) / GAIN + READ_NOISE**2
    dx, dy = np.meshgrid(np.arange(-12.0, 13.0), np.arange(-12.0, 13.0))
    profile = moffat_of_fwhm(3.0).image(dx, dy)
    psf = constant_psf((profile / profile.sum()).astype(np.float32), shape=light.shape)
    epochs = [light + np.sqrt(variance) * rng.normal(size=light.shape) for _ in range(4)]
    images = [
        Image(
            e.astype(np.float32),
            np.zeros(e.shape, np.uint16),
            psf=psf,
            variance=variance.astype(np.float32),
        )
        for e in epochs
    ]
    change, aperture = changes(
        np.mean(epochs, axis=0), coadd(images).image.data, sources, fwhm=3.0, variance=variance
    )
    # the same noise: what differs is what the rejection of outliers took
    assert np.abs(change).max() < MOST
    assert np.abs(aperture).max() < MOST
