"""The simulator is judged by arithmetic alone: fluxes, places, noise and light curves."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from astrid_site.imaging import simulation
from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.simulation import (
    PairConfig,
    SkyConfig,
    simulate_frame,
    simulate_pair,
)
from astrid_site.imaging.sky_detector import Camera, bleed
from astrid_site.imaging.sky_geometry import PlaneMap
from astrid_site.imaging.sky_noise import Seen, difference_snr
from astrid_site.imaging.sky_psf import draw_moffat_field
from astrid_site.imaging.sky_scene import add_galaxies, add_points
from astrid_site.imaging.sky_sources import StaticSky

SMALL = SkyConfig(
    n_fields=1,
    n_epochs=5,
    shape=(256, 256),
    supernovae_per_field=3,
    variables_per_field=2,
    asteroids_per_field=2,
)
EMPTY = replace(
    SMALL,
    star_density_per_mpix=0,
    galaxy_density_per_mpix=0,
    supernovae_per_field=0,
    variables_per_field=0,
    asteroids_per_field=0,
)
QUIET = Camera(cosmic_rays_per_mpix_100s=0, bad_columns_per_mpix=0)


def centroid(pixels):
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    return (pixels * x).sum() / pixels.sum(), (pixels * y).sum() / pixels.sum()


def one_galaxy(*, index: float, radius: float) -> StaticSky:
    none = np.zeros(0)
    middle = np.array([100.37]), np.array([99.81])
    shape = np.array([np.eye(2) * radius**2])
    return StaticSky(none, none, none, *middle, np.array([0.0]), np.array([index]), shape)


@pytest.mark.parametrize("fwhm", [2.3, 3.0, 3.6])
@pytest.mark.parametrize(("x", "y"), [(100.0, 100.0), (100.37, 99.81), (99.5, 100.49)])
def test_a_star_has_its_flux_and_its_place(fwhm, x, y):
    psf = draw_moffat_field(np.random.default_rng(3), shape=(201, 201), fwhm_pix=fwhm, beta=3.2)
    canvas = np.zeros((201, 201))
    add_points(canvas, psf, x=np.array([x]), y=np.array([y]), flux=np.array([1e4]), level=0.2)
    assert canvas.sum() == pytest.approx(1e4, rel=0.002)
    assert centroid(canvas) == pytest.approx((x, y), abs=0.005)


@pytest.mark.parametrize("index", [1.0, 2.0, 4.0])
def test_a_galaxy_has_its_flux_its_place_and_its_half_light_radius(index):
    psf = draw_moffat_field(np.random.default_rng(3), shape=(201, 201), fwhm_pix=2.3, beta=4.0)
    canvas = np.zeros((201, 201))
    sky = one_galaxy(index=index, radius=8.0)
    add_galaxies(canvas, psf, sky, where=PlaneMap(np.eye(2), (0.0, 0.0)), zero_point=10.0)
    y, x = np.mgrid[:201, :201]
    inside = canvas[np.hypot(x - 100.37, y - 99.81) < 8.0].sum() / canvas.sum()
    assert canvas.sum() == pytest.approx(1e4, rel=0.002)
    assert centroid(canvas) == pytest.approx((100.37, 99.81), abs=0.005)
    # the outer cut leaves up to 9 % of a de Vaucouleurs profile out, which lifts the share
    assert 0.46 < inside < 0.56


def test_a_galaxy_without_extent_is_a_star():
    psf = draw_moffat_field(np.random.default_rng(3), shape=(201, 201), fwhm_pix=2.6, beta=3.2)
    galaxy, star = np.zeros((201, 201)), np.zeros((201, 201))
    add_galaxies(
        galaxy,
        psf,
        one_galaxy(index=1.0, radius=1e-3),
        where=PlaneMap(np.eye(2), (0.0, 0.0)),
        zero_point=10.0,
    )
    place = {"x": np.array([100.37]), "y": np.array([99.81])}
    add_points(star, psf, **place, flux=np.array([1e4]), level=0.01)
    assert np.abs(galaxy - star).max() < 2e-4 * star.max()


def test_the_psf_truth_agrees_with_what_was_drawn():
    psf = draw_moffat_field(np.random.default_rng(5), shape=(400, 300), fwhm_pix=2.8, beta=3.4)
    x, y = np.array([10.0, 150.0, 290.0]), np.array([390.0, 77.0, 200.0])
    drawn = psf.cutouts(x, y, half=20)
    truth = psf.to_psf_field(size=41).at(x, y)
    drawn /= drawn.sum(axis=(1, 2), keepdims=True)
    assert np.abs(truth - drawn).max() < 2e-3 * drawn.max()


def test_the_psf_varies_over_the_frame():
    psf = draw_moffat_field(np.random.default_rng(5), shape=(400, 400), fwhm_pix=2.8, beta=3.4)
    peaks = psf.cutouts(np.array([200.0, 0.0]), np.array([200.0, 0.0]), half=5).max(axis=(1, 2))
    assert abs(peaks[1] / peaks[0] - 1) > 0.01


def test_bleeding_keeps_the_charge_and_respects_the_full_well():
    electrons = np.full((101, 3), 100.0)
    electrons[50, 1] = 5000.0
    before = electrons.sum()
    spilled = bleed(electrons, 1000.0)
    assert electrons.sum() == pytest.approx(before)
    assert electrons.max() == 1000.0
    # 4000 electrons, 2000 each way, fill rooms of 900: three pixels either side
    assert np.flatnonzero(spilled[:, 1]).tolist() == [47, 48, 49, 51, 52, 53]
    assert not spilled[:, [0, 2]].any()


def test_blank_sky_has_the_noise_the_truth_says():
    frame = simulate_frame(replace(EMPTY, camera=QUIET), field=0, epoch=1)
    pulls = (frame.image.data - frame.sky_truth) / np.sqrt(frame.variance_truth)
    # standard errors: 1 / sqrt(n) of the mean, 1 / sqrt(2 n) of the width
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
    assert abs(pulls.std() - 1) < 4 / np.sqrt(2 * pulls.size)


def test_counts_are_whole_numbers_of_16_bits():
    frame = simulate_frame(SMALL, field=0, epoch=2)
    data = frame.image.data
    assert (data == np.rint(data)).all()
    assert data.min() >= 0
    assert data.max() <= 65535


def test_saturated_stars_bleed_and_bad_columns_hold_nothing():
    config = replace(SMALL, star_density_per_mpix=3000, camera=Camera(bad_columns_per_mpix=60))
    image = simulate_frame(config, field=0, epoch=0).image
    saturated = is_bad(image.mask, MaskPlane.SATURATED)
    bad = is_bad(image.mask, MaskPlane.BAD_PIXEL)
    assert saturated.any()
    assert is_bad(image.mask, MaskPlane.BLEED).any()
    assert bad.any()
    assert image.saturation is not None
    assert (image.data[saturated & ~bad] >= image.saturation).all()
    assert (image.data[bad] == 0).all()
    assert is_bad(image.mask[bad], MaskPlane.NO_DATA).all()


def test_cosmic_rays_stand_out_where_the_mask_says():
    config = replace(EMPTY, camera=Camera(cosmic_rays_per_mpix_100s=400, bad_columns_per_mpix=0))
    frame = simulate_frame(config, field=0, epoch=1)
    excess = (frame.image.data - frame.sky_truth) / np.sqrt(frame.variance_truth)
    hit = is_bad(frame.image.mask, MaskPlane.COSMIC_RAY)
    assert hit.any()
    assert np.median(excess[hit]) > 5
    # 65 000 unharmed pixels: a pull above 6 has a chance of 1e-4
    assert excess[~hit].max() < 6


def test_a_frame_does_not_depend_on_the_others():
    alone = simulate_frame(SMALL, field=0, epoch=3)
    simulate_frame(SMALL, field=0, epoch=0)
    again = simulate_frame(SMALL, field=0, epoch=3)
    other = simulate_frame(replace(SMALL, seed=2), field=0, epoch=3)
    assert np.array_equal(alone.image.data, again.image.data)
    assert not np.array_equal(alone.image.data, other.image.data)


def test_template_epochs_hold_no_supernova_and_no_asteroid():
    for epoch in range(SMALL.n_template_epochs):
        truth = simulate_frame(SMALL, field=0, epoch=epoch).truth
        assert (truth["flux_adu"][truth["kind"] == "supernova"] == 0).all()
        assert "asteroid" not in truth["kind"]
        assert np.isnan(truth["snr_difference"]).all()


def test_later_epochs_hold_every_kind_and_supernovae_have_no_reference_flux():
    truth = simulate_frame(SMALL, field=0, epoch=4).truth
    kinds, counts = np.unique(truth["kind"], return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {
        "asteroid": 2,
        "supernova": 3,
        "variable": 2,
    }
    supernovae = truth[truth["kind"] == "supernova"]
    assert (supernovae["flux_adu"] > 0).all()
    assert (supernovae["reference_flux_adu"] == 0).all()


def test_the_reference_flux_of_a_variable_is_its_mean_over_the_templates():
    frames = [simulate_frame(SMALL, field=0, epoch=epoch) for epoch in (0, 1, 3)]
    fluxes = []
    for frame in frames:
        row = frame.truth[frame.truth["object_id"] == "SIM-F01-VAR01"]
        fluxes.append(row["flux_adu"][0] * 10 ** (-0.4 * frame.zero_point_truth))
    reference = row["reference_flux_adu"][0] * 10 ** (-0.4 * frames[2].zero_point_truth)
    assert reference == pytest.approx(np.mean(fluxes[:2]))


def test_the_header_wcs_is_off_by_the_documented_amount():
    config = replace(SMALL, wcs_error_pix=0.05)
    offsets = []
    for epoch in range(4):
        frame = simulate_frame(config, field=0, epoch=epoch)
        ra, dec = frame.image.wcs.all_pix2world(frame.truth["x"], frame.truth["y"], 0)
        east = (ra - frame.truth["ra"] + 180) % 360 - 180
        east = east * np.cos(np.deg2rad(dec)) * 3600
        offsets.append((np.mean(east), np.mean((dec - frame.truth["dec"]) * 3600)))
    spread = np.array(offsets) - np.array(config.wcs_offset_arcsec)
    assert np.abs(spread).max() < 4 * 0.05 * config.pixel_scale_arcsec
    assert np.abs(spread).max() > 0.001


def test_epochs_differ_in_pointing_seeing_and_depth():
    frames = [simulate_frame(EMPTY, field=0, epoch=epoch) for epoch in range(4)]
    assert len({frame.seeing_arcsec for frame in frames}) == 4
    assert len({frame.zero_point_truth for frame in frames}) == 4
    corners = [frame.image.wcs.all_pix2world(0, 0, 0) for frame in frames]
    steps = [np.hypot(*(np.array(corner) - corners[0])) * 3600 for corner in corners[1:]]
    assert min(steps) > 1
    assert max(steps) < 60


def test_injected_fluxes_come_back_unbiased_with_the_ideal_noise():
    config = PairConfig(
        star_density_per_mpix=0,
        galaxy_density_per_mpix=0,
        transient_density_per_mpix=300,
        camera=QUIET,
    )
    pair = simulate_pair(config)
    science = pair.calibrated_science()
    pulls, ideal = [], []
    for row in pair.truth:
        x, y = round(row["x"]), round(row["y"])
        dx, dy = row["x"] - x, row["y"] - y
        # a Fourier shift of the true PSF: independent of how the simulator places sources
        centred = pair.science_psf.at(row["x"], row["y"])[0].astype(float)
        ky, kx = np.fft.fftfreq(41)[:, None], np.fft.fftfreq(41)[None, :]
        ramp = np.exp(-2j * np.pi * (kx * dx + ky * dy))
        profile = np.fft.ifft2(np.fft.fft2(centred) * ramp).real[2:-2, 2:-2]
        window = (slice(y - 18, y + 19), slice(x - 18, x + 19))
        weight = profile / science.variance[window]
        error = 1 / np.sqrt((profile * weight).sum())
        flux = (science.data[window] * weight).sum() * error**2
        pulls.append((flux - row["flux_adu"]) / error)
        ideal.append(row["flux_adu"] / error / row["snr_ideal"])
    n = len(pulls)
    assert n > 60
    assert abs(np.mean(pulls)) < 4 / np.sqrt(n)
    assert abs(np.std(pulls) - 1) < 4 / np.sqrt(2 * n)
    assert ideal == pytest.approx(np.ones(n), rel=0.01)


def test_a_pair_covers_the_wanted_range_of_snr():
    truth = simulate_pair(PairConfig(host_fraction=0.5)).truth
    assert len(truth) == round(80 * 512 * 512 / 1e6)
    assert truth["snr_ideal"].min() == pytest.approx(3, rel=1e-6)
    assert truth["snr_ideal"].max() == pytest.approx(50, rel=1e-6)
    assert set(truth["host"]) == {"galaxy", "none"}
    assert (truth["snr_difference"] < truth["snr_ideal"]).all()


def test_a_pair_without_turn_shares_one_grid():
    pair = simulate_pair(PairConfig(shape=(200, 260), wcs_error_pix=0.0))
    assert pair.reference.shape == pair.science.shape == (200, 260)
    assert np.allclose(pair.truth["x"], pair.truth["x_reference"], atol=1e-9)


def test_a_turned_pair_shows_the_same_sky():
    config = PairConfig(
        shape=(256, 256),
        reference_shape=(300, 280),
        rotation_deg=31.0,
        shift_pix=(12.0, -7.0),
        pixel_scale_ratio=1.25,
    )
    pair = simulate_pair(config)
    truth = pair.truth
    ra, dec = pair.reference.wcs.all_pix2world(truth["x_reference"], truth["y_reference"], 0)
    # 1e-9 deg is 4 micro-arcsec
    assert np.allclose(ra, truth["ra"], atol=1e-9)
    assert np.allclose(dec, truth["dec"], atol=1e-9)


def test_the_same_pair_comes_from_the_same_seed():
    first, second = simulate_pair(PairConfig()), simulate_pair(PairConfig())
    assert np.array_equal(first.science.data, second.science.data)
    assert np.array_equal(first.reference.data, second.reference.data)


def test_a_difference_of_equals_costs_the_square_root_of_two():
    psf = draw_moffat_field(np.random.default_rng(1), shape=(99, 99), fwhm_pix=3.0, beta=3.5)
    profile = psf.cutouts(np.array([50.0]), np.array([50.0]), half=24).astype(float)
    science = Seen(profile, np.array([4.0]), 1.0)
    silent = Seen(profile, np.array([4e-12]), 1.0)
    flux = np.array([100.0])
    alone = 100.0 * np.sqrt((profile**2).sum() / 4.0)
    assert difference_snr(flux, science, [science])[0] == pytest.approx(
        alone / np.sqrt(2), rel=1e-3
    )
    assert difference_snr(flux, science, [silent])[0] == pytest.approx(alone, rel=1e-3)


@pytest.mark.parametrize(
    "changes", [{"n_fields": 0}, {"n_template_epochs": 0}, {"shape": (64, 64)}]
)
def test_an_impossible_survey_is_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        SkyConfig(**changes)


def test_the_simulator_knows_nothing_of_the_code_it_judges():
    folder = Path(simulation.__file__).parent
    allowed = {"image", "masks", "psf"}
    for path in [folder / "simulation.py", *folder.glob("sky_*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("astrid_site"):
                name = (node.module or "").rsplit(".", 1)[-1]
                assert name in allowed or name.startswith("sky_"), f"{path.name} imports {name}"
