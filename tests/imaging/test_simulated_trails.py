"""Satellites in the simulator: light, ends and mask as the truth table says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.simulation import SkyConfig, simulate_frame, write_survey
from astrid_site.imaging.sky_psf import MoffatField
from astrid_site.imaging.sky_trails import SkyTrail, add_trails, clip_to_frame

PLAIN = SkyConfig(seed=5, shape=(200, 240), n_fields=1, n_epochs=1)
BUSY = replace(PLAIN, satellites_per_frame=3.0, satellite_sigma_range=(20.0, 30.0))
SHAPE = (300, 300)
ROUND = MoffatField(SHAPE, 3.5, (3.0, 0, 0, 0, 0, 0), (0.0,) * 6, (0.0,) * 6)


def light_of(trail):
    return add_trails(np.zeros(SHAPE), ROUND, [trail])


def test_a_trail_holds_a_constant_height_along_its_axis_and_defocus_keeps_its_light():
    sharp = light_of(SkyTrail(-500.0, 150.0, 800.0, 150.0, 100.0, 0.0))
    assert sharp[150, 20:280] == pytest.approx(100.0)
    assert sharp[149, 100] == pytest.approx(sharp[151, 100])
    soft = light_of(SkyTrail(-500.0, 150.0, 800.0, 150.0, 100.0, 2.0))
    assert soft[150, 100] < 90.0
    # beta 3.5 leaves 1e-5 of the light beyond the reach
    assert soft[:, 100].sum() == pytest.approx(sharp[:, 100].sum(), rel=1e-3)


def test_a_trail_ends_where_the_satellite_does():
    light = light_of(SkyTrail(80.0, 150.0, 220.0, 150.0, 100.0, 0.0))
    assert light[150, 150] == pytest.approx(100.0, rel=1e-3)
    assert light[150, 80] == pytest.approx(50.0, rel=1e-3)
    assert light[150, 40] < 0.1


def test_the_ends_on_the_frame_are_where_it_leaves_it():
    trail = SkyTrail(-100.0, 50.0, 500.0, 50.0, 1.0, 0.0)
    assert clip_to_frame(trail, SHAPE) == pytest.approx((-0.5, 50.0, 299.5, 50.0))


def test_the_truth_table_tells_ends_and_light_of_every_satellite():
    frame = simulate_frame(BUSY, field=0, epoch=0)
    clean = simulate_frame(replace(BUSY, satellites_per_frame=0.0), field=0, epoch=0)
    rows = frame.truth[frame.truth["kind"] == "trail"]
    others = frame.truth[frame.truth["kind"] != "trail"]
    assert len(rows) >= 1
    assert np.isfinite(rows["x_start"]).all()
    assert np.isnan(others["x_start"]).all()
    assert "x_start" not in clean.truth.colnames
    added = float(frame.image.data.sum() - clean.image.data.sum())
    n_pixels = frame.image.data.size
    # the noise of two exposures; cosmic rays add their own
    noise = float(np.sqrt(2.0 * n_pixels * np.median(clean.variance_truth)))
    assert added == pytest.approx(float(rows["flux_adu"].sum()), rel=0.1, abs=10.0 * noise)


def test_lit_pixels_are_flagged_and_the_same_seed_gives_the_same_satellites():
    first, again = (simulate_frame(BUSY, field=0, epoch=0) for _ in range(2))
    assert np.array_equal(first.image.data, again.image.data)
    lit = is_bad(first.image.mask, MaskPlane.TRAIL)
    row = first.truth[first.truth["kind"] == "trail"][0]
    assert lit[round(float(row["y"])), round(float(row["x"]))]
    plain = simulate_frame(PLAIN, field=0, epoch=0)
    assert not is_bad(plain.image.mask, MaskPlane.TRAIL).any()


def test_a_survey_without_satellites_is_the_survey_it_was_before_there_were_any(tmp_path):
    write_survey(PLAIN, tmp_path / "plain")
    assert "satellite" not in (tmp_path / "plain" / "simulation.json").read_text()
    write_survey(BUSY, tmp_path / "busy")
    assert '"satellites_per_frame": 3.0' in (tmp_path / "busy" / "simulation.json").read_text()
    assert "x_start" in (tmp_path / "busy" / "README.txt").read_text()
