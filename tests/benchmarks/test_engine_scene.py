"""The scenes of the engine's benchmark are what they claim: light, noise, S/N, geometry."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine import detector, ideal
from benchmarks.engine.light import MoffatField, add_points, sersic_points
from benchmarks.engine.regimes import REGIMES
from benchmarks.engine.scene import Scene, make_scene
from benchmarks.engine.scene_files import write_scene
from benchmarks.engine.sky import place_frames

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (161, 161)


@pytest.fixture(scope="module")
def small_scene() -> Scene:
    return make_scene(REGIMES["sparse"], size=320, seed=4)


def enclosed(psf: MoffatField, radius: float) -> float:
    """Share of a round Moffat's light within a radius."""
    alpha = float(psf.alpha(np.array([80.0]), np.array([80.0]))[0])
    return 1.0 - (1.0 + (radius / alpha) ** 2) ** (1.0 - psf.beta)


@pytest.mark.parametrize(
    ("fwhm", "shear"), [(1.4, 0j), (2.3, 0.02 + 0.01j), (3.1, 0.23 * (0.5 + 0.866j))]
)
def test_the_pixels_of_an_isolated_star_add_up_to_its_flux(fwhm: float, shear: complex) -> None:
    psf = MoffatField(shape=SHAPE, fwhm_pix=fwhm, beta=3.0, shear=shear)
    scene = np.zeros(SHAPE)
    add_points(
        scene,
        psf,
        x=np.array([80.3]),
        y=np.array([79.6]),
        flux=np.array([1e5]),
        level=np.array([1e-4]),
    )
    # a circle of 60 pixels leaves out less than 1e-4 of the light; float32 stamps cost 1e-5
    assert scene.sum() == pytest.approx(1e5 * enclosed(psf, 60.0), rel=5e-4)


def test_the_centre_of_light_is_the_position() -> None:
    psf = MoffatField(shape=SHAPE, fwhm_pix=1.4, beta=3.3, shear=0.1j)
    stamp = psf.stamps(np.array([80.37]), np.array([79.81]), 20)[0].astype(float)
    offset = np.arange(-20, 21)
    assert (stamp * offset[None, :]).sum() / stamp.sum() == pytest.approx(0.37, abs=5e-3)
    assert (stamp * offset[:, None]).sum() / stamp.sum() == pytest.approx(-0.19, abs=5e-3)


@pytest.mark.parametrize("fwhm", [1.4, 3.1])
def test_pixels_hold_the_integral_of_the_profile_not_its_middle(fwhm: float) -> None:
    psf = MoffatField(shape=SHAPE, fwhm_pix=fwhm, beta=3.0)
    stamp = psf.stamps(np.array([80.0]), np.array([80.0]), 6)[0]
    fine = (np.arange(41) - 20) / 41.0
    alpha = float(psf.alpha(np.array([80.0]), np.array([80.0]))[0])
    y, x = np.meshgrid(fine, 1.0 + fine, indexing="ij")
    peak = (psf.beta - 1.0) / (np.pi * alpha**2)
    truth = peak * np.mean((1.0 + (x**2 + y**2) / alpha**2) ** -psf.beta)
    assert stamp[6, 7] == pytest.approx(truth, rel=3e-3)


def test_half_of_a_galaxys_points_lie_within_its_half_light_radius() -> None:
    x, y = sersic_points(half_light=3.0, index=2.0, axis_ratio=0.5, angle=0.0, n=200)
    assert np.mean(np.hypot(x, y / 0.5) < 3.0) == pytest.approx(0.5, abs=1 / 200)


def test_bleeding_keeps_the_charge_and_fills_no_pixel_beyond_the_well() -> None:
    electrons = np.zeros((400, 3))
    electrons[200, 1] = 20.4 * detector.FULL_WELL
    hit = detector.bleed(electrons)
    assert electrons.sum() == pytest.approx(20.4 * detector.FULL_WELL)
    assert electrons.max() <= detector.FULL_WELL
    assert not hit[:, [0, 2]].any()
    assert 21 <= hit[:, 1].sum() <= 23


def profiles() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.meshgrid(np.arange(64) - 32.0, np.arange(64) - 32.0, indexing="ij")
    science = MoffatField(shape=SHAPE, fwhm_pix=3.1, beta=3.0)
    reference = MoffatField(shape=SHAPE, fwhm_pix=2.3, beta=3.3)
    return science.density(80.0, 80.0, x, y), reference.density(80.0, 80.0, x, y)


def best_estimate(
    science: np.ndarray, reference: np.ndarray, *, variances: tuple[float, float]
) -> np.ndarray:
    """Generalised least squares for the flux of a source at [32, 32], static sky unknown.

    P_r S - P_s R holds no static sky; its mean is F P_s P_r and its noise white but for
    s^2 |P_r|^2 + r^2 |P_s|^2. Written here apart from the code under test.
    """
    ps, pr = (np.fft.fft2(np.fft.ifftshift(p)) for p in profiles())
    spectra = [np.fft.fft2(np.fft.ifftshift(v, axes=(-2, -1))) for v in (science, reference)]
    combined = pr * spectra[0] - ps * spectra[1]
    noise = variances[0] * np.abs(pr) ** 2 + variances[1] * np.abs(ps) ** 2
    top = (np.conj(ps * pr) * combined / noise).real.sum(axis=(-2, -1))
    return np.asarray(top / (np.abs(ps * pr) ** 2 / noise).sum())


def test_the_least_error_is_that_of_an_ideal_matched_filter_on_pure_noise() -> None:
    rng = np.random.default_rng(5)
    variances = (300.0, 40.0)
    best = ideal.best_filters(
        *profiles(), science_variance=variances[0], reference_variance=variances[1]
    )
    n = 800
    science = rng.normal(0.0, variances[0] ** 0.5, (n, 64, 64))
    reference = rng.normal(0.0, variances[1] ** 0.5, (n, 64, 64))
    flux = best_estimate(science + 900.0 * profiles()[0], reference, variances=variances)
    # the width of n normal values is known to 1 / sqrt(2 n) = 2.5 %, the mean to sigma / sqrt(n)
    assert flux.std() == pytest.approx(best.sigma, rel=0.08)
    assert flux.mean() == pytest.approx(900.0, abs=4.0 * best.sigma / np.sqrt(n))


def test_a_static_sky_does_not_move_the_best_estimate() -> None:
    variances = (300.0, 40.0)
    science, reference = (np.roll(p, (5, -7), (0, 1)) * 1e4 for p in profiles())
    assert abs(best_estimate(science, reference, variances=variances)) < 1e-6


def test_the_flux_for_an_snr_has_that_snr_with_the_sources_own_photons() -> None:
    rng = np.random.default_rng(6)
    variances = (300.0, 40.0)
    best = ideal.best_filters(
        *profiles(), science_variance=variances[0], reference_variance=variances[1]
    )
    flux = best.flux_for(20.0)
    assert flux / best.sigma_with(flux) == pytest.approx(20.0)
    n = 800
    science = rng.poisson(variances[0] + flux * profiles()[0], (n, 64, 64)) - variances[0]
    reference = rng.normal(0.0, variances[1] ** 0.5, (n, 64, 64))
    measured = best_estimate(science, reference, variances=variances)
    assert flux / measured.std() == pytest.approx(20.0, rel=0.08)


def test_the_filter_returns_the_flux_of_what_it_is_made_for() -> None:
    best = ideal.best_filters(*profiles(), science_variance=300.0, reference_variance=40.0)
    assert np.sum(best.science * best.profile) == pytest.approx(1.0)


def test_transients_have_the_snr_they_are_listed_with(small_scene: Scene) -> None:
    transients = small_scene.truth.transients
    np.testing.assert_allclose(transients.flux / transients.sigma, transients.snr)
    assert set(transients.snr) <= set(REGIMES["sparse"].bins)
    assert transients.on_galaxy.sum() == len(transients.x) // 2


def test_blank_sky_has_the_noise_of_its_photons(small_scene: Scene) -> None:
    blank, data = small_scene.truth.blank, small_scene.science.data
    assert blank.mean() > 0.3
    sky = np.median(data[blank]) * detector.GAIN
    expected = np.sqrt(sky + detector.READ_NOISE**2) / detector.GAIN
    smooth = data - np.median(data[blank])
    # the sky slopes by 5 % from centre to edge, which widens it by a few per cent
    assert np.std(smooth[blank]) == pytest.approx(expected, rel=0.08)


def test_one_seed_gives_one_scene(small_scene: Scene) -> None:
    again = make_scene(REGIMES["sparse"], size=320, seed=4)
    np.testing.assert_array_equal(again.science.data, small_scene.science.data)
    other = make_scene(REGIMES["sparse"], size=320, seed=5)
    assert not np.array_equal(other.science.data, small_scene.science.data)


def test_both_headers_put_a_place_on_the_same_sky() -> None:
    geometry = place_frames(REGIMES["scale-fine"], 512)
    x, y = np.array([40.0, 300.5]), np.array([77.0, 402.25])
    here = geometry.science.wcs().all_pix2world(x, y, 0)
    there = geometry.reference.wcs().all_pix2world(*geometry.on_reference(x, y), 0)
    np.testing.assert_allclose(here, there, atol=1e-9)


def test_the_reference_covers_the_share_it_says() -> None:
    scene = make_scene(replace(REGIMES["overlap"], dither_arcsec=(0.0, 0.0)), size=320, seed=1)
    assert scene.truth.covered.mean() == pytest.approx(0.4, abs=0.02)
    assert scene.truth.excluded[~scene.truth.covered].all()


def test_files_hold_frames_and_masks_of_their_own_shape(small_scene: Scene, tmp_path: Path) -> None:
    from astropy.io import fits

    files = write_scene(small_scene, tmp_path)
    for image, mask in (
        (files.reference, files.reference_mask),
        (files.science, files.science_mask),
    ):
        data = fits.getdata(image)
        assert data.shape == fits.getdata(mask).shape
        assert np.isfinite(data).all()
    header = fits.getheader(files.science)
    np.testing.assert_array_equal(fits.getdata(files.science_mask) > 0, small_scene.science.bad)
    assert header["GAIN"] == detector.GAIN


def test_scenes_and_scores_share_no_code_with_what_they_judge() -> None:
    for name in (
        "light",
        "sky",
        "regimes",
        "detector",
        "ideal",
        "scene",
        "scene_files",
        "exposure",
        "transients",
        "scoring",
        "figures",
    ):
        tree = ast.parse((ROOT / "benchmarks" / "engine" / f"{name}.py").read_text())
        imported = [
            node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        ] + [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
        ours = [module for module in imported if module.split(".")[0] in OUR_PACKAGES]
        assert ours == [], name


OUR_PACKAGES = (
    "astrid_site",
    "observations",
    "preprocessing",
    "differencing",
    "detection",
    "catalog",
    "curation",
)
