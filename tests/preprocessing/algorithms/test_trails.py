"""Satellite trails are found where they are, and nowhere else."""

from __future__ import annotations

import time

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.simulation import SkyConfig, simulate_frame
from preprocessing.algorithms.line_transform import sum_along_lines
from preprocessing.algorithms.preprocess import preprocess_image
from preprocessing.algorithms.trail_strip import Line
from preprocessing.algorithms.trails import find_trails, split_pattern

SIDE = 512


def simulated(seed, **settings):
    return simulate_frame(SkyConfig(seed=seed, shape=(SIDE, SIDE), **settings), field=0, epoch=3)


def searched(frame):
    """Trails of a simulated frame, its sky and noise taken from the truth."""
    bad = is_bad(frame.image.mask & ~np.uint16(MaskPlane.TRAIL))
    data = np.where(bad, 0.0, frame.image.data - frame.sky_truth).astype(np.float32)
    noise = float(np.sqrt(np.median(frame.variance_truth)))
    return find_trails(data, bad=bad, noise=noise, fwhm_pix=frame.psf_truth.fwhm_pix)


def true_lines(frame):
    rows = frame.truth[frame.truth["kind"] == "trail"]
    return [
        Line(*(float(row[n]) for n in ("x_start", "y_start", "x_end", "y_end"))) for row in rows
    ]


def offset(found, true):
    """Greater distance of the ends of one line from another."""
    ux, uy = true.direction
    ends = ((found.x0, found.y0), (found.x1, found.y1))
    return max(abs((x - true.x0) * uy - (y - true.y0) * ux) for x, y in ends)


@pytest.mark.parametrize(
    "crowd", [{}, {"star_density_per_mpix": 8000.0}, {"galaxy_density_per_mpix": 1500.0}]
)
def test_trails_above_the_noise_are_found_in_place_and_nothing_else_is(crowd):
    n_true = n_found = 0
    for seed in range(3):
        frame = simulated(
            seed, satellites_per_frame=1.2, satellite_sigma_range=(2.0, 30.0), **crowd
        )
        lines = [line for line in true_lines(frame) if line.length > 250]
        trails = searched(frame)
        hits = [[offset(t.line, line) < 1.5 for t in trails] for line in true_lines(frame)]
        n_found += sum(any(offset(t.line, line) < 1.5 for t in trails) for line in lines)
        n_true += len(lines)
        assert all(any(hit[i] for hit in hits) for i in range(len(trails)))
    # where stars are dense a short faint trail may drown
    assert n_true >= 3
    assert n_found >= n_true - (1 if "star_density_per_mpix" in crowd else 0)


@pytest.mark.parametrize(
    "crowd", [{}, {"star_density_per_mpix": 8000.0}, {"galaxy_density_per_mpix": 1500.0}]
)
def test_a_frame_without_satellites_has_no_trails(crowd):
    for seed in range(20, 23):
        assert searched(simulated(seed, **crowd)) == ()


def blank(rng, shape=(SIDE, SIDE)):
    return rng.normal(0.0, 10.0, shape).astype(np.float32)


def line_light(shape, line, *, peak, sigma):
    ux, uy = line.direction
    y, x = np.mgrid[: shape[0], : shape[1]]
    across = (y - line.y0) * ux - (x - line.x0) * uy
    along = (x - line.x0) * ux + (y - line.y0) * uy
    inside = (along >= 0) & (along <= line.length)
    return (peak * np.exp(-0.5 * (across / sigma) ** 2) * inside).astype(np.float32)


def search_blank(data):
    return find_trails(data, bad=np.zeros(data.shape, bool), noise=10.0, fwhm_pix=3.0)


def test_a_faint_trail_is_fitted_to_a_fraction_of_a_pixel():
    true = Line(60.0, 100.0, 480.0, 330.0)
    data = blank(np.random.default_rng(1)) + line_light((SIDE, SIDE), true, peak=10.0, sigma=1.3)
    (trail,) = search_blank(data)
    assert offset(trail.line, true) < 0.8
    assert trail.fwhm_pix == pytest.approx(2.355 * 1.3, rel=0.25)
    assert trail.peak == pytest.approx(10.0, rel=0.2)
    # an end is known to one segment of 24 pixels
    ends = [(trail.line.x0, trail.line.y0), (trail.line.x1, trail.line.y1)]
    for x, y in ((true.x0, true.y0), (true.x1, true.y1)):
        assert min(np.hypot(x - a, y - b) for a, b in ends) < 30


@pytest.mark.parametrize("angle", range(0, 180, 15))
def test_every_direction_is_searched(angle):
    ux, uy = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    true = Line(256 - 150 * ux, 250 - 150 * uy, 256 + 150 * ux, 250 + 150 * uy)
    data = blank(np.random.default_rng(angle))
    (trail,) = search_blank(data + line_light(data.shape, true, peak=15.0, sigma=1.3))
    # the ends of a trail of 300 pixels and 1.5 sigma: each half is placed to a fifth of a pixel
    assert offset(trail.line, true) < 1.0


def test_two_crossing_trails_are_both_found():
    lines = (Line(0.0, 40.0, 511.0, 420.0), Line(30.0, 511.0, 300.0, 0.0))
    data = blank(np.random.default_rng(2))
    for line in lines:
        data += line_light(data.shape, line, peak=40.0, sigma=1.5)
    trails = search_blank(data)
    assert len(trails) == 2
    assert all(min(offset(t.line, line) for t in trails) < 0.5 for line in lines)


def test_what_is_no_trail_is_left_alone():
    rng = np.random.default_rng(3)
    column, step = blank(rng), blank(rng)
    column[:, 200] += 40.0
    step[:, 250:] += 20.0
    y, x = np.mgrid[:SIDE, :SIDE]
    spike = 3e4 / (1.0 + np.abs(x - 256.0)) ** 2 * np.exp(-0.5 * ((y - 240.0) / 1.5) ** 2)
    row = blank(rng)
    for place in range(20, 500, 40):
        row += 900.0 * np.exp(-0.5 * (((x - place) ** 2 + (y - 300.0) ** 2) / 1.3**2))
    for data in (column, step, blank(rng) + spike, row):
        assert search_blank(data.astype(np.float32)) == ()


def test_a_trail_is_masked_over_its_width_and_recorded_with_its_ends():
    frame = simulated(4, satellites_per_frame=1.2, satellite_sigma_range=(15.0, 30.0))
    (true,) = true_lines(frame)
    raw = frame.image.with_(mask=frame.image.mask & np.uint16(MaskPlane.NO_DATA))
    done = preprocess_image(raw)
    (record,) = done.metrics["trails"]
    assert done.metrics["n_trails"] == 1
    assert offset(Line(*(record[name] for name in ("x0", "y0", "x1", "y1"))), true) < 1.0
    assert any("satellite trail" in note for note in done.notes)
    lit = is_bad(frame.image.mask, MaskPlane.TRAIL)
    masked = is_bad(done.image.mask)
    # the last pixels before a soft end may be lost with it
    assert (lit & masked).sum() > 0.97 * lit.sum()
    assert is_bad(done.image.mask, MaskPlane.TRAIL).sum() < 4 * lit.sum()


def test_sections_of_all_lengths_add_up_along_their_lines():
    image = np.random.default_rng(4).normal(size=(32, 32)).astype(np.float32)
    for lines in sum_along_lines(image, shortest=8):
        flat = np.ravel_multi_index((0, 0, 0, 32 + 5), lines.sums.shape)
        assert lines.sums.ravel()[flat] == pytest.approx(image[: lines.length, 5].sum(), abs=1e-4)
        x0, y0, x1, y1 = lines.ends(np.array([flat]))[0]
        assert (x0, y0, x1, y1) == (5, 0, 5, lines.length - 1)
    turned = np.ravel_multi_index((2, 0, 0, 32 + 5), lines.sums.shape)
    assert lines.sums.ravel()[turned] == pytest.approx(image[5].sum(), abs=1e-4)


def test_the_cost_grows_with_the_pixels_and_no_faster():
    rng = np.random.default_rng(5)
    seconds = []
    for side in (1024, 2048):
        data = blank(rng, (side, side))
        best = np.inf
        for _ in range(3):
            start = time.process_time()
            search_blank(data)
            best = min(best, time.process_time() - start)
        seconds.append(best)
    # four times the pixels, the same number of bins; room for a busy machine
    assert seconds[1] < 6.0 * seconds[0]


def test_frames_too_small_or_without_noise_hold_no_trails():
    assert (
        find_trails(
            np.zeros((40, 400), np.float32), bad=np.zeros((40, 400), bool), noise=1.0, fwhm_pix=3.0
        )
        == ()
    )
    assert (
        find_trails(
            np.zeros((200, 200), np.float32),
            bad=np.zeros((200, 200), bool),
            noise=0.0,
            fwhm_pix=3.0,
        )
        == ()
    )


def test_the_ends_of_a_trail_that_others_cross_are_its_own():
    true = Line(30.0, 60.0, 470.0, 350.0)
    data = blank(np.random.default_rng(6))
    data += line_light(data.shape, true, peak=110.0, sigma=1.6)
    data += line_light(data.shape, Line(0.0, 440.0, 511.0, 150.0), peak=45.0, sigma=1.8)
    data += line_light(data.shape, Line(100.0, 0.0, 260.0, 511.0), peak=75.0, sigma=1.6)
    trails = search_blank(data)
    (ends,) = (
        sorted([(t.line.x0, t.line.y0), (t.line.x1, t.line.y1)])
        for t in trails
        if offset(t.line, true) < 1.0
    )
    # the light of a pixel along it is 11 times its noise: the end is where it falls
    assert ends[0] == pytest.approx((true.x0, true.y0), abs=2.0)
    assert ends[1] == pytest.approx((true.x1, true.y1), abs=2.0)
    assert all("-0" not in trail.in_words() for trail in trails)


@pytest.mark.parametrize("wave", [(0.02, 0.013), (0.0, 0.03)])
def test_fringes_are_a_pattern_and_the_satellite_among_them_a_trail(wave):
    y, x = np.mgrid[:768, :768]
    fringes = 5.0 * np.sin(2 * np.pi * (wave[0] * x + wave[1] * y))
    true = Line(50.0, 100.0, 700.0, 560.0)
    data = blank(np.random.default_rng(7), (768, 768)) + fringes.astype(np.float32)
    data += line_light(data.shape, true, peak=40.0, sigma=1.6)
    trails, pattern = split_pattern(search_blank(data), fwhm_pix=3.0)
    assert [offset(trail.line, true) < 1.5 for trail in trails] == [True]
    assert pattern.period_pix == pytest.approx(1 / np.hypot(*wave), rel=0.05)
    assert "pattern" in pattern.in_words()


def test_satellites_in_a_row_are_no_pattern():
    data = blank(np.random.default_rng(8))
    for number in range(4):
        line = Line(20.0, 60.0 + 60.0 * number, 490.0, 190.0 + 60.0 * number)
        data += line_light(data.shape, line, peak=40.0, sigma=1.5)
    trails, pattern = split_pattern(search_blank(data), fwhm_pix=3.0)
    assert len(trails) == 4
    assert pattern is None
