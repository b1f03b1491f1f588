"""Gain, read noise, linearity and saturation measured on simulated frames of known detectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.sky_calibration import DetectorConfig, make_detector, read_out
from preprocessing.algorithms.detector_properties import (
    GAIN_TOLERANCE,
    Linearity,
    check_gain,
    find_saturation,
    fit_linearity,
    measure_gain,
    measure_read_noise,
)
from preprocessing.algorithms.readout import clipped_mean

CAMERAS = [
    DetectorConfig(shape=(512, 512), overscan=0, gain=1.7, read_noise=6.0, seed=1),
    DetectorConfig(shape=(512, 512), overscan=0, gain=0.4, read_noise=3.5, seed=2),
    DetectorConfig(
        shape=(512, 512), overscan=0, gain=4.5, read_noise=8.0, seed=3, vignetting=0.5,
        full_well=200_000.0,
    ),
]  # fmt: skip
EXPOSURES = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 32.0])


def lit(config: DetectorConfig, electrons: float, *, seed: int, exposure_s: float = 5.0) -> Any:
    """A flat without its pedestal and fixed pattern."""
    detector = make_detector(config)
    rng = np.random.default_rng([seed, 51])
    frame = read_out(detector, electrons, exposure_s=exposure_s, rng=rng)
    return (frame.data - detector.bias - config.pedestal).astype(np.float32)


@pytest.mark.parametrize("config", CAMERAS, ids=lambda c: f"gain {c.gain}")
def test_the_read_noise_of_two_biases_is_right_to_three_per_cent(config: DetectorConfig) -> None:
    first, second = (lit(config, 0.0, seed=n, exposure_s=0.0) for n in (1, 2))
    found = measure_read_noise(first, second)
    assert found.value * config.gain == pytest.approx(config.read_noise, rel=0.03)
    assert found.error < 0.01 * found.value


@pytest.mark.parametrize("config", CAMERAS, ids=lambda c: f"gain {c.gain}")
@pytest.mark.parametrize("other", [20_000.0, 12_000.0])
def test_the_gain_of_two_flats_is_right_to_two_per_cent(
    config: DetectorConfig, other: float
) -> None:
    first, second = lit(config, 20_000.0, seed=3), lit(config, other, seed=4)
    found = measure_gain(first, second, read_noise_adu=config.read_noise / config.gain)
    assert found.value == pytest.approx(config.gain, rel=0.02)
    # the error that is stated is the one that is made
    assert abs(found.value - config.gain) < 5.0 * found.error
    assert found.error < 0.01 * config.gain


def test_one_frame_twice_or_no_light_tells_no_gain() -> None:
    frame = lit(CAMERAS[0], 20_000.0, seed=5)
    with pytest.raises(AlgorithmError, match="one frame"):
        measure_gain(frame, frame, read_noise_adu=3.5)
    dark = lit(CAMERAS[0], 0.0, seed=6, exposure_s=0.0)
    with pytest.raises(AlgorithmError, match="too little light") as refusal:
        measure_gain(dark, dark + 1, read_noise_adu=3.5)
    assert refusal.value.numbers["n_required"] == 16


@pytest.mark.parametrize("loss", [0.0, 0.03, 0.08])
def test_the_linearity_curve_is_right_to_half_a_per_cent(loss: float) -> None:
    config = DetectorConfig(
        shape=(256, 256), overscan=0, nonlinearity=loss, full_well=90_000.0, seed=4
    )
    frames = [lit(config, 2_500.0 * t, seed=int(t), exposure_s=float(t)) for t in EXPOSURES]
    levels = np.array([clipped_mean(frame.reshape(1, -1), axis=1)[0] for frame in frames])
    curve = fit_linearity(EXPOSURES, levels)
    electrons = np.linspace(1_000.0, 80_000.0, 80)
    recorded = electrons * (1.0 - loss * electrons / config.full_well) / config.gain
    corrected = curve.correct(recorded.astype(np.float32)) * config.gain
    assert np.abs(corrected / electrons - 1.0).max() < 0.005
    # the gain of flats that are made linear is that of the detector again
    pair = [curve.correct(lit(config, 40_000.0, seed=n)) for n in (71, 72)]
    found = measure_gain(pair[0], pair[1], read_noise_adu=config.read_noise / config.gain)
    assert found.value == pytest.approx(config.gain, rel=0.03)


def test_a_lamp_that_drifts_tells_no_linearity() -> None:
    levels = 3000.0 * EXPOSURES * (1.0 + 0.05 * np.sin(np.arange(7.0) * 2.0))
    with pytest.raises(AlgorithmError, match="no steady lamp") as refusal:
        fit_linearity(EXPOSURES, levels)
    assert refusal.value.numbers["rms"] > 0.005


@pytest.mark.parametrize("times", [[5.0] * 8, [1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], []])
def test_flats_of_few_exposure_times_tell_no_linearity(times: list[float]) -> None:
    with pytest.raises(AlgorithmError, match="4 exposure times"):
        fit_linearity(np.array(times), 1000.0 * np.array(times))


def test_saturation_is_where_longer_exposures_record_no_more() -> None:
    config = DetectorConfig(shape=(128, 128), overscan=0, full_well=60_000.0, seed=6)
    levels = [
        clipped_mean(lit(config, 4_000.0 * t, seed=9, exposure_s=t).reshape(1, -1), axis=1)[0]
        for t in EXPOSURES
    ]
    found = find_saturation(EXPOSURES, np.array(levels))
    assert found == pytest.approx(config.full_well / config.gain, rel=0.03)
    assert find_saturation(EXPOSURES[:4], np.array(levels[:4])) is None


def sky(
    seed: int, *, gain: float = 1.7, read_noise: float = 6.0, level: float = 800.0, side: int = 192
) -> Image:
    """Sky [electrons] with stars, read out by a camera."""
    rng = np.random.default_rng([seed, 52])
    light = np.zeros((side, side))
    n = side * side // 400
    light[rng.integers(0, side, n), rng.integers(0, side, n)] = rng.pareto(1.0, n) * 500.0
    light = ndimage.gaussian_filter(light, 1.3) + level * (1.0 + 0.1 * np.linspace(-1, 1, side))
    counts = rng.poisson(np.maximum(light, 0.0)) + rng.normal(0.0, read_noise, light.shape)
    return Image(
        data=np.rint(counts / gain).astype(np.float32),
        mask=np.zeros(light.shape, dtype=np.uint16),
        gain=gain,
        read_noise=read_noise,
    )


@pytest.mark.parametrize(
    ("gain", "read_noise", "level"),
    [(1.7, 6.0, 800.0), (0.5, 3.0, 150.0), (3.0, 12.0, 100.0), (1.0, 2.0, 5000.0)],
)
def test_a_gain_that_is_wrong_by_two_is_noticed_and_a_right_one_is_not(
    gain: float, read_noise: float, level: float
) -> None:
    frames = [sky(n, gain=gain, read_noise=read_noise, level=level) for n in range(30)]
    right = [check_gain(frame, has_pedestal=False) for frame in frames]
    assert [check.verdict for check in right] == ["pass"] * 30
    for factor in (0.5, 2.0):
        wrong = [check_gain(f.with_(gain=gain * factor), has_pedestal=False) for f in frames]
        assert [check.verdict for check in wrong] == ["suspect"] * 30
        measured = np.array([check.measured for check in wrong])
        assert np.abs(measured / gain - 1.0).max() < 0.25
        # 30 of 30 in four cameras and both ways; the worst of them decides how sure one can be:
        # it lies more than 3 widths of the measurements inside the limit
        distance = np.abs(np.log(measured / (gain * factor)))
        spread = np.log(measured).std()
        assert distance.min() - np.log(GAIN_TOLERANCE) > 3.0 * spread


def test_what_cannot_be_checked_is_said_not_guessed() -> None:
    frame = sky(1)
    assert check_gain(frame.with_(gain=None), has_pedestal=False).reason == "no gain is stated"
    bare = frame.with_(data=frame.data - np.median(frame.data))
    assert check_gain(bare, has_pedestal=False).reason == "the sky was subtracted"
    smooth = frame.with_(data=ndimage.uniform_filter(frame.data, 2))
    assert check_gain(smooth, has_pedestal=False).verdict == "not_checked"
    lost = frame.with_(mask=np.full(frame.shape, MaskPlane.NO_DATA, np.uint16))
    assert check_gain(lost, has_pedestal=False).reason == "too few usable pixels"
    cut = frame.with_(data=frame.data[:20, :30].copy(), mask=frame.mask[:20, :30].copy())
    assert check_gain(cut, has_pedestal=False).reason == "too few usable pixels"
    silent = frame.with_(gain=8.0, read_noise=None)
    assert "no read noise is stated" in check_gain(silent, has_pedestal=False).reason


def test_a_bias_that_was_left_in_the_frame_is_noticed_too() -> None:
    raw = sky(2, level=800.0)
    left = raw.with_(data=raw.data + 1000.0)
    found = check_gain(left, has_pedestal=True)
    assert found.verdict == "suspect"
    assert found.reason.endswith("or a bias that is still in the frame")
    # a gain that is stated too large is told all the same
    assert check_gain(left.with_(gain=40.0), has_pedestal=True).verdict == "suspect"


@given(st.floats(-2e-6, 2e-6), st.floats(-2e-11, 2e-11), st.floats(1.0, 40_000.0))
@settings(max_examples=60, deadline=None)
def test_the_slope_of_a_curve_is_its_derivative(a: float, b: float, at: float) -> None:
    curve = Linearity(a, b, 50_000.0, 0.0)
    step = 8.0
    low, high = curve.correct(np.array([at - step, at + step], dtype=np.float64))
    assert (high - low) / (2 * step) == pytest.approx(
        float(curve.slope(np.array([max(at, step)], dtype=np.float64))[0]), abs=2e-2
    )
