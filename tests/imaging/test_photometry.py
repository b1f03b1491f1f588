"""Forced photometry against injected truth, and magnitudes that know their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.photometry import (
    flux_to_mag,
    forced_photometry,
    measure_noise_scale,
    shift_psf,
)
from astrid_site.imaging.psf import PsfField, constant_psf


def moffat(dx: float = 0.0, dy: float = 0.0, *, fwhm: float = 3.0, size: int = 31) -> np.ndarray:
    """Pixel-integrated Moffat (beta 3) of unit sum, offset from the middle pixel."""
    alpha = fwhm / (2 * math.sqrt(2 ** (1 / 3.0) - 1))
    fine = (np.arange(size * 5) + 0.5) / 5 - 0.5 - size // 2
    profile = (1 + ((fine[None, :] - dx) ** 2 + (fine[:, None] - dy) ** 2) / alpha**2) ** -3.0
    image = profile.reshape(size, 5, size, 5).sum(axis=(1, 3))
    return (image / image.sum()).astype(np.float32)


def psf_field(shape: tuple[int, int], fwhm: float = 3.0) -> PsfField:
    return constant_psf(moffat(fwhm=fwhm), shape=shape)


@pytest.mark.parametrize("fwhm", [2.2, 3.0, 5.0])
def test_the_shifted_psf_is_the_psf_sampled_at_the_shift(fwhm: float) -> None:
    shifted = shift_psf(moffat(fwhm=fwhm)[None], np.array([0.37]), np.array([-0.45]))[0]
    truth = moffat(0.37, -0.45, fwhm=fwhm)
    assert shifted.sum() == pytest.approx(1.0, abs=1e-5)
    # flux error made by the interpolation: the projection of the residual on the PSF
    assert abs(float((shifted * truth).sum() / (shifted**2).sum()) - 1.0) < 2e-3


@pytest.mark.parametrize("fwhm", [1.4, 1.8, 2.6])
def test_the_flux_of_a_source_between_pixels_is_whole_however_narrow_the_psf(fwhm: float) -> None:
    shape = (41, 41)
    flat, mask = np.ones(shape, dtype=np.float32), np.zeros(shape, dtype=np.uint16)
    for dx, dy in ((0.5, 0.5), (0.37, -0.45), (-0.2, 0.1)):
        data = np.pad(moffat(dx, dy, fwhm=fwhm), 5)
        field = psf_field(shape, fwhm)
        found = forced_photometry(data, flat, field, mask, 20.0 + dx, 20.0 + dy)
        assert found is not None
        # by its pixels alone the narrowest would lack 2 to 5 % of its light
        assert found.flux == pytest.approx(1.0, abs=0.002)


def test_forced_fluxes_are_unbiased_with_unit_pulls() -> None:
    rng = np.random.default_rng(42)
    flux, n_side, step, gain, sky = 4000.0, 20, 40, 2.0, 100.0
    shape = (n_side * step, n_side * step)
    data = np.zeros(shape)
    dx, dy = rng.uniform(-0.5, 0.5, (2, n_side, n_side))
    for i in range(n_side):
        for j in range(n_side):
            cy, cx = i * step + 20, j * step + 20
            data[cy - 15 : cy + 16, cx - 15 : cx + 16] += flux * moffat(dx[i, j], dy[i, j])
    variance = (sky + data / gain).astype(np.float32)
    data = (data + rng.normal(0, np.sqrt(variance))).astype(np.float32)
    mask = np.zeros(shape, np.uint16)
    results = [
        forced_photometry(
            data,
            variance,
            psf_field(shape),
            mask=mask,
            x=j * step + 20 + dx[i, j],
            y=i * step + 20 + dy[i, j],
        )
        for i in range(n_side)
        for j in range(n_side)
    ]
    fluxes = np.array([r.flux for r in results if r is not None])
    errors = np.array([r.flux_error for r in results if r is not None])
    pulls = (fluxes - flux) / errors
    assert len(pulls) == 400
    # 400 sources at S/N ~60: the mean is known to 0.08 %
    assert abs(fluxes.mean() / flux - 1) < 0.005
    # the width of 400 unit normals scatters by 3.5 %
    assert abs(pulls.std() - 1) < 0.12
    assert abs(np.mean([r.chi2 for r in results if r is not None]) - 1) < 0.05


def test_a_variance_estimated_from_the_noisy_pixels_does_not_bias_the_flux() -> None:
    rng = np.random.default_rng(7)
    flux, gain, sky = 20_000.0, 1.0, 50.0
    shape, n = (41, 41), 300
    psf, mask = psf_field(shape), np.zeros((41, 41), np.uint16)
    model = np.zeros(shape)
    model[5:36, 5:36] = flux * moffat()
    fluxes = []
    for _ in range(n):
        data = (model + rng.normal(0, np.sqrt(sky + model / gain))).astype(np.float32)
        variance = (sky + np.maximum(data, 0) / gain).astype(np.float32)
        result = forced_photometry(data, variance, psf, mask=mask, x=20.0, y=20.0)
        assert result is not None
        fluxes.append(result.flux)
    # S/N ~100 each: the mean of 300 is known to 0.06 %
    assert abs(np.mean(fluxes) / flux - 1) < 0.002


def test_a_masked_core_or_a_position_off_the_frame_gives_no_flux() -> None:
    shape = (61, 61)
    psf, data = psf_field(shape), np.zeros(shape, np.float32)
    variance, mask = np.ones(shape, np.float32), np.zeros(shape, np.uint16)
    mask[30, 30] = MaskPlane.SATURATED
    assert forced_photometry(data, variance, psf, mask=mask, x=30.2, y=29.8) is None
    assert forced_photometry(data, variance, psf, mask=mask, x=-5.0, y=10.0) is None
    assert forced_photometry(data, variance, psf, mask=mask, x=1e6, y=10.0) is None


def test_a_masked_wing_is_flagged_and_leaves_the_flux_unbiased() -> None:
    shape = (61, 61)
    data, mask = np.zeros(shape, np.float32), np.zeros(shape, np.uint16)
    data[15:46, 15:46] = 500.0 * moffat()
    mask[32, :] = MaskPlane.BAD_PIXEL
    data[32, :] = 0
    result = forced_photometry(
        data, np.ones(shape, np.float32), psf_field(shape), mask=mask, x=30.0, y=30.0
    )
    assert result is not None
    assert result.flux == pytest.approx(500.0, rel=1e-3)
    assert result.flags == int(MaskPlane.BAD_PIXEL)
    assert 0.01 < result.mask_fraction < 0.3


def test_correlated_noise_is_measured_on_blank_sky() -> None:
    rng = np.random.default_rng(3)
    shape = (500, 500)
    white = rng.normal(0, 1, shape)
    # 2x2 running mean times 2: per-pixel variance 1, neighbours correlated, zero-frequency x2
    smooth = (
        white + np.roll(white, 1, 0) + np.roll(white, 1, 1) + np.roll(white, (1, 1), (0, 1))
    ) / 2
    variance, mask = np.ones(shape, np.float32), np.zeros(shape, np.uint16)
    psf = psf_field(shape, fwhm=6.0)
    flat = measure_noise_scale(white.astype(np.float32), variance, psf, mask=mask)
    coloured = measure_noise_scale(smooth.astype(np.float32), variance, psf, mask=mask)
    # 576 positions: the percentile width scatters by 4 %
    assert flat == pytest.approx(1.0, abs=0.13)
    assert 1.6 < coloured < 2.1


def test_magnitudes_follow_pogson() -> None:
    assert flux_to_mag(100.0, 1.0, 25.0).mag == pytest.approx(20.0)
    assert flux_to_mag(100.0, 1.0, 25.0).mag_error == pytest.approx(0.010857, rel=1e-3)


@pytest.mark.parametrize("flux", [-50.0, 0.0, 2.9])
def test_a_flux_without_significance_has_a_limit_and_no_magnitude(flux: float) -> None:
    mag, mag_error, limit = flux_to_mag(flux, 1.0, 25.0)
    assert mag is None
    assert mag_error is None
    assert limit == pytest.approx(25.0 - 2.5 * math.log10(5.0))


@pytest.mark.parametrize(
    ("flux", "error", "zero_point"),
    [(1.0, 0.0, 25.0), (1.0, math.nan, 25.0), (math.nan, 1.0, 25.0), (1.0, 1.0, math.inf)],
)
def test_nonsense_has_no_magnitude(flux: float, error: float, zero_point: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        flux_to_mag(flux, error, zero_point)
