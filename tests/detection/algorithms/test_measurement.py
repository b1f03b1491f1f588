"""Measurements agree with what was injected, and every cut says what it saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.psf import constant_psf
from detection.algorithms.candidates import find_candidates
from detection.algorithms.cuts import CutConfig, apply_cuts
from detection.algorithms.measurement import Measurement, measure
from tests.detection.algorithms.difference_sky import (
    Sky,
    Stars,
    add,
    make_images,
    make_sky,
    moffat,
)

SHAPE = (400, 400)
GRID = [(x + 0.3, y - 0.2) for x in range(40, 380, 34) for y in range(40, 380, 34)]


def measure_sky(sky: Sky, *, stars: Stars | None = None, **masks: np.ndarray) -> list[Measurement]:
    template, science = make_images(sky)
    if "science" in masks:
        science = science.with_(mask=masks["science"])
    return measure(sky, template, science, find_candidates(sky), stars=stars or Stars())


def failed(measurement: Measurement) -> set[str]:
    return {cut.name for cut in apply_cuts(measurement, CutConfig()) if not cut.kept}


def sigma_of_flux(sigma: float = 10.0) -> float:
    return sigma / float(np.sqrt((moffat() ** 2).sum()))


@pytest.mark.parametrize("sign", [1, -1])
def test_point_sources_are_measured_as_point_sources_of_their_flux(sign: int) -> None:
    sky = make_sky([(x, y, 30.0 * sign) for x, y in GRID], shape=SHAPE)
    measured = measure_sky(sky)
    assert len(measured) == len(GRID)
    flux = np.array([m.flux for m in measured]) * sign
    truth = 30.0 * sigma_of_flux()
    # 100 sources at S/N 30: the mean is known to 0.33 %
    assert abs(flux.mean() / truth - 1) < 0.01
    assert np.median([m.flux_error for m in measured]) == pytest.approx(sigma_of_flux(), rel=0.12)
    assert np.median([m.fwhm_pix for m in measured]) == pytest.approx(sky.psf.fwhm_pix, rel=0.03)
    assert np.median([m.elongation for m in measured]) < 1.15
    assert np.mean([m.psf_chi2 for m in measured]) == pytest.approx(1.0, abs=0.25)
    assert np.median([m.sharpness for m in measured]) == pytest.approx(1.0, abs=0.1)
    assert all(m.sign == sign and m.mask_flags == 0 for m in measured)


def test_faint_point_sources_pass_every_cut() -> None:
    sky = make_sky([(x, y, 8.0) for x, y in GRID], shape=SHAPE, seed=9)
    measured = measure_sky(sky)
    kept = [m for m in measured if not failed(m)]
    assert len(kept) >= 0.97 * len(GRID)


def test_bright_sources_with_an_imperfect_psf_pass_every_cut() -> None:
    sky = make_sky([(x, y, 150.0) for x, y in GRID[:20]], shape=SHAPE, fwhm=3.1)
    psf = make_sky([], shape=SHAPE, fwhm=3.0).psf
    assert all(not failed(m) for m in measure_sky(replace(sky, psf=psf)))


def test_single_pixel_hits_are_sharp_and_cut() -> None:
    extra = np.zeros(SHAPE)
    for x, y in GRID[:30]:
        extra[round(y), round(x)] = 400.0
    measured = measure_sky(make_sky([], shape=SHAPE, extra=extra))
    assert len(measured) == 30
    assert min(m.sharpness for m in measured) > 2.2
    assert all("sharpness" in failed(m) for m in measured)


def test_dipoles_are_recognised_and_cut_and_point_sources_are_not() -> None:
    extra = np.zeros(SHAPE)
    for x, y in GRID[:30]:
        add(extra, x, y, 60_000 * (moffat(0.15, 0.05) - moffat(-0.15, -0.05)))
    dipoles = measure_sky(make_sky([], shape=SHAPE, extra=extra))
    assert len(dipoles) == 60
    assert np.median([m.dipole_ratio for m in dipoles]) > 0.8
    assert all("dipole_ratio" in failed(m) for m in dipoles)
    points = measure_sky(make_sky([(x, y, 15.0) for x, y in GRID], shape=SHAPE))
    assert np.mean([m.dipole_ratio > 0.25 for m in points]) < 0.03


def test_bad_columns_and_trails_are_elongated_and_seen_as_lines() -> None:
    extra = np.zeros(SHAPE)
    extra[:, 120] = 60.0
    measured = measure_sky(make_sky([], shape=SHAPE, extra=extra))
    assert len(measured) > 0
    assert np.median([m.features["log_line_pull"] or 0 for m in measured]) > 1.0
    assert np.median([m.elongation or 0 for m in measured]) > 2.0


def test_extended_residuals_are_wide() -> None:
    extra = np.zeros(SHAPE)
    add(extra, 200, 200, 40_000 * moffat(fwhm=12.0, size=81))
    widest = max(measure_sky(make_sky([], shape=SHAPE, extra=extra)), key=lambda m: m.snr)
    assert widest.fwhm_pix is not None
    assert widest.fwhm_pix > 2 * 3.0


def test_masked_neighbours_are_counted_and_flagged() -> None:
    mask = np.zeros(SHAPE, np.uint16)
    mask[:, 202] = MaskPlane.BAD_PIXEL
    (m,) = measure_sky(make_sky([(200.0, 200.0, 40.0)], shape=SHAPE, mask=mask))
    assert m.mask_flags == int(MaskPlane.BAD_PIXEL)
    assert 0.02 < m.mask_fraction < 0.3
    # the lost column costs signal, not truth
    assert m.flux == pytest.approx(40 * sigma_of_flux(), abs=4 * m.flux_error)


def test_distances_to_bright_and_saturated_stars_are_measured() -> None:
    mask = np.zeros(SHAPE, np.uint16)
    mask[200, 230] = MaskPlane.SATURATED
    one = np.ones(1)
    stars = Stars(x=185 * one, y=200 * one, flux=1e4 * one, flux_error=10 * one)
    sky = make_sky([(200.0, 200.0, 40.0)], shape=SHAPE)
    (m,) = measure_sky(sky, stars=stars, science=mask)
    assert m.nearest_star_pix == pytest.approx(15.0, abs=0.3)
    assert m.nearest_saturated_pix == pytest.approx(30.0, abs=0.3)
    (alone,) = measure_sky(sky)
    assert alone.nearest_star_pix is None
    assert alone.features["star_proximity"] == 0.0


def test_every_cut_reports_value_limit_margin_and_outcome() -> None:
    (m,) = measure_sky(make_sky([(200.0, 200.0, 40.0)], shape=SHAPE))
    cuts = apply_cuts(m, CutConfig(min_score=50.0))
    assert len({cut.name for cut in cuts}) == len(cuts)
    score = next(cut for cut in cuts if cut.name == "score")
    assert not score.kept
    assert score.value == abs(m.score)
    assert score.margin == pytest.approx((abs(m.score) - 50) / 50)
    for cut in cuts:
        assert cut.margin is None or (cut.margin >= 0) == cut.kept


def test_features_of_a_clean_candidate_are_all_finite_numbers() -> None:
    for m in measure_sky(make_sky([(x, y, 10.0) for x, y in GRID], shape=SHAPE)):
        assert all(value is not None and np.isfinite(value) for value in m.features.values())


def test_images_off_the_grid_are_refused() -> None:
    sky = make_sky([(100.0, 90.0, 40.0)])
    template, science = make_images(sky)
    other, _ = make_images(make_sky([], shape=(100, 100)))
    with pytest.raises(ValueError, match="grid"):
        measure(sky, other, science, find_candidates(sky), stars=Stars())
    assert measure(sky, template, science, find_candidates(sky), stars=Stars())


@pytest.mark.parametrize("level", [-6.0, 6.0])
def test_a_local_level_changes_neither_shape_nor_chi2(level: float) -> None:
    # 0.6 sigma of a pixel: what two sky subtractions leave on a galaxy's halo
    extra = np.full(SHAPE, level)
    measured = [
        m
        for m in measure_sky(make_sky([(x, y, 25.0) for x, y in GRID], shape=SHAPE, extra=extra))
        if m.snr > 15
    ]
    assert len(measured) >= 0.97 * len(GRID)
    assert np.median([m.fwhm_pix for m in measured]) == pytest.approx(3.0, rel=0.05)
    assert np.mean([m.psf_chi2 for m in measured]) == pytest.approx(1.0, abs=0.25)
    assert not {"fwhm_ratio_high", "psf_chi2"} & set().union(*(failed(m) for m in measured))


def test_a_point_source_seen_through_an_elongated_psf_is_round_and_a_round_one_is_not() -> None:
    def stretched(ratio: float, angle: float) -> np.ndarray:
        offset = np.arange(31) - 15
        along = np.cos(angle) * offset[None, :] + np.sin(angle) * offset[:, None]
        across = np.cos(angle) * offset[:, None] - np.sin(angle) * offset[None, :]
        image = np.exp(-0.5 * ((along / (1.3 * ratio)) ** 2 + (across / 1.3) ** 2))
        return np.asarray(image / image.sum(), dtype=np.float32)

    own, psf = stretched(1.6, 0.6), make_sky([], shape=SHAPE).psf
    extra, width = np.zeros(SHAPE), sigma_of_flux()
    for x, y in GRID:
        add(extra, x, y, 40.0 * width * own)
    sky = make_sky([], shape=SHAPE, extra=extra)
    through_own = replace(sky, psf=replace(psf, coefficients=own[None]))
    fit = measure_sky(through_own)
    assert len(fit) == len(GRID)
    assert np.median([m.elongation for m in fit]) < 1.15
    assert not any({"elongation", "fwhm_ratio_low"} & failed(m) for m in fit)
    assert np.median([m.elongation for m in measure_sky(sky)]) > 1.4


def test_pixels_that_the_subtraction_gave_up_do_not_speak_of_a_source_beside_them() -> None:
    mask = np.zeros(SHAPE, np.uint16)
    mask[:, 204:] = MaskPlane.STAR_HALO
    sky = make_sky([(201.0, 200.0, 150.0)], shape=SHAPE, mask=mask)
    # what the variance says where nothing was measured is of no account
    variance = np.where(mask > 0, np.float32(1.0), sky.variance)
    (m,) = measure_sky(replace(sky, variance=variance))
    assert m.psf_chi2 == pytest.approx(1.0, abs=0.7)
    assert m.sharpness == pytest.approx(1.0, abs=0.1)
    assert 0.0 < m.mask_fraction < 0.3
    assert m.flux == pytest.approx(150.0 * sigma_of_flux(), abs=4 * m.flux_error)


def test_stamps_too_small_to_show_what_lies_around_say_nothing_of_it() -> None:
    """A PSF cut off at its own width: no ring of sky is left in its stamps."""
    sky = make_sky([(100.2, 90.4, 40.0)])
    core = moffat()[11:20, 11:20]
    narrow = replace(constant_psf(core, shape=sky.difference.shape), fwhm_pix=7.0)
    [measured] = measure_sky(replace(sky, psf=narrow))
    assert measured.features["ring_level"] == 0.0
    assert measured.features["log_ring_scatter"] == 0.0
    assert measured.psf_chi2 > 0.0
