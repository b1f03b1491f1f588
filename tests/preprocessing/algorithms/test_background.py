"""The sky: level and noise."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from preprocessing.algorithms.background import fit_background, robust_width


def frame(data, mask=None):
    mask = np.zeros(data.shape, dtype=np.uint16) if mask is None else mask
    return Image(data=data.astype(np.float32), mask=mask)


def test_a_sloping_sky_and_its_noise_come_back():
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:320, 0:320]
    sky = 100.0 + 0.05 * x + 0.02 * y
    background = fit_background(frame(sky + rng.normal(0, 5.0, sky.shape)))
    # the plane through all pixels is good to 5 / 320 in the middle and to 2.6 times as much in the
    # corners; five of these
    assert np.abs(background.level - sky).max() < 5 * 2.6 * 5.0 / 320
    assert background.noise == pytest.approx(5.0, rel=0.01)


def test_stars_on_a_slope_do_not_tilt_the_boxes_they_cover(make_field):
    field = make_field(n_stars=250)
    y, x = np.mgrid[0 : field.light.shape[0], 0 : field.light.shape[1]]
    slope = 0.5 * x + 0.2 * y
    data = field.image.data + slope.astype(np.float32)
    flat, tilted = fit_background(field.image).level, fit_background(frame(data)).level
    # before, boxes with stars on one side were 1.5 off
    assert np.abs(tilted - slope - flat).max() < 0.05 * field.sky_sigma


def test_moonlight_from_beyond_a_corner_is_followed():
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:768, 0:768]
    sky = 250.0 + 3000.0 * np.exp(-np.hypot(x - 960.0, y + 100.0) / 400.0)
    noise = np.sqrt(sky / 1.5 + 16.0)
    background = fit_background(frame(sky + noise * rng.normal(size=sky.shape)))
    off = (background.level - sky) / noise
    # the light falls by 20 times the noise across the box in the corner
    assert off.std() < 0.05
    assert np.abs(off).max() < 0.6


def test_stars_do_not_lift_the_sky_nor_widen_its_noise(make_field):
    field = make_field(n_stars=250)
    background = fit_background(field.image)
    blank = field.light < 0.2
    pulls = ((field.image.data - background.level) / background.noise_map)[blank]
    assert background.noise == pytest.approx(field.sky_sigma, rel=0.015)
    assert abs(pulls.mean()) < 0.03
    assert pulls.std() == pytest.approx(1.0, abs=0.02)


def test_the_sky_of_a_crowd_does_not_jump_with_the_seeing(make_field):
    """A few per cent of sky are left between 2,600 stars; it is what they are seen on."""
    rng = np.random.default_rng(3)
    flux = 10 ** (2.9 + 2.6 * rng.uniform(0, 1, 2600) ** 2.2)
    x, y = rng.uniform(-6, 326, (2, flux.size))
    off = []
    for fwhm in (3.6, 4.0, 4.4):
        field = make_field(
            seed=3, shape=(320, 320), x=x, y=y, flux=flux, fwhm=fwhm, sky=1200.0, gain=1.9
        )
        off.append((fit_background(field.image).median - 1200.0) / field.sky_sigma)
    # unresolved stars lift it by what lies between the others, more of it in worse seeing
    assert max(off) < 2.0
    assert np.abs(np.diff(off)).max() < 0.5


def test_masked_pixels_do_not_count():
    rng = np.random.default_rng(2)
    data = rng.normal(50.0, 3.0, (256, 256))
    mask = np.zeros(data.shape, dtype=np.uint16)
    data[:, :60] = 9e4
    mask[:, :60] = 1
    background = fit_background(frame(data, mask))
    assert background.median == pytest.approx(50.0, abs=0.1)
    assert background.noise == pytest.approx(3.0, rel=0.02)


def test_a_frame_without_usable_pixels_is_refused():
    mask = np.ones((128, 128), dtype=np.uint16)
    with pytest.raises(AlgorithmError, match="too few usable pixels") as caught:
        fit_background(frame(np.zeros((128, 128)), mask))
    assert caught.value.numbers["n_good"] == 0


def test_a_constant_frame_is_refused():
    with pytest.raises(AlgorithmError, match="constant"):
        fit_background(frame(np.full((128, 128), 7.0)))


def test_the_width_ignores_an_upper_wing_of_sources():
    rng = np.random.default_rng(3)
    values = rng.normal(0.0, 2.0, 100_000)
    values[:8000] += rng.exponential(8.0, 8000)
    assert robust_width(values)[1] == pytest.approx(2.0, rel=0.06)


def test_the_width_of_coarsely_digitised_values_is_not_zero():
    values = np.rint(np.random.default_rng(4).normal(0.0, 0.45, 50_000))
    # rounding adds a variance of 1/12
    assert robust_width(values)[1] == pytest.approx(np.hypot(0.45, 12**-0.5), rel=0.1)
