"""Masters, bad pixels and calibrated frames against a simulated detector that is fully known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.sky_calibration import (
    Detector,
    DetectorConfig,
    NightPlan,
    RawFrame,
    calibration_frames,
    make_detector,
    read_out,
)
from preprocessing.algorithms.calibration import (
    Calibrated,
    CalibrationSet,
    Readout,
    calibrate_image,
)
from preprocessing.algorithms.combine import combine_frames
from preprocessing.algorithms.masters import (
    Master,
    build_bias,
    build_dark,
    build_flat,
    compare_masters,
    grow_columns,
)
from preprocessing.algorithms.readout import (
    Crosstalk,
    Section,
    clipped_mean,
    parse_section,
)

CONFIG = DetectorConfig(shape=(640, 512), seed=3)
DARK_S = 60.0


def image_of(frame: RawFrame) -> Image:
    """A raw frame as the loader hands it over."""
    return Image(
        data=frame.data,
        mask=np.zeros(frame.data.shape, dtype=np.uint16),
        gain=float(frame.header["GAIN"]),
        read_noise=float(frame.header["RDNOISE"]),
        saturation=float(frame.header["SATURATE"]),
        exposure_s=float(frame.header["EXPTIME"]),
    )


def readout_of(frame: RawFrame) -> Readout:
    shape = frame.data.shape
    return Readout(
        parse_section(str(frame.header["BIASSEC"]), shape=(shape[0], shape[1])),
        parse_section(str(frame.header["TRIMSEC"]), shape=(shape[0], shape[1])),
    )


def calibrate(frame: RawFrame, calibration: CalibrationSet) -> Calibrated:
    return calibrate_image(image_of(frame), calibration, readout_of(frame))


@dataclass(frozen=True)
class Night:
    """A detector and the masters of one night."""

    detector: Detector
    bias: Master
    dark: Master
    flat: Master
    n_cosmic_rays: int

    @property
    def masters(self) -> CalibrationSet:
        return CalibrationSet(self.bias.image, self.dark.image, self.flat.image)

    @property
    def unit(self) -> float:
        """Response that a flat of 1 stands for."""
        return float(np.median(self.detector.response[~self.detector.bad]))


def build_night(config: DetectorConfig, *, mjd: float = 61100.0) -> Night:
    detector = make_detector(config)
    plan = NightPlan(mjd=mjd, n_bias=12, darks=((DARK_S, 8),), flats=(("r", 5.0, 20_000.0),) * 8)
    frames = calibration_frames(detector, plan)
    of = {kind: [f for n, f in frames.items() if n.startswith(kind)] for kind in ("bias", "dark")}
    flats = [frame for name, frame in frames.items() if name.startswith("flat")]
    bias = build_bias(np.stack([calibrate(f, CalibrationSet()).image.data for f in of["bias"]]))
    with_bias = CalibrationSet(bias.image)
    darks = np.stack([calibrate(f, with_bias).image.data for f in of["dark"]])
    dark = build_dark(darks, exposure_s=DARK_S)
    made_with = CalibrationSet(bias.image, dark.image, dark_scale=5.0 / DARK_S)
    lit = [calibrate(frame, made_with).image.data for frame in flats]
    levels = np.array([clipped_mean(data.reshape(1, -1), axis=1)[0] for data in lit])
    stack = np.stack([data / level for data, level in zip(lit, levels, strict=True)])
    flat = build_flat(stack.astype(np.float32), levels=levels)
    hits = sum(int(frame.cosmic_rays.sum()) for frame in of["dark"])
    return Night(detector, bias, dark, flat, hits)


@pytest.fixture(scope="module")
def night() -> Night:
    return build_night(CONFIG)


def pulls_of(master: Image, truth: NDArray[np.float64], good: NDArray[np.bool_]) -> Any:
    assert master.variance is not None
    return ((master.data - truth) / np.sqrt(master.variance))[good]


def test_the_bias_is_recovered_within_its_errors(night: Night) -> None:
    pulls = pulls_of(night.bias.image, night.detector.bias, ~night.detector.bad)
    # the overscan's own noise adds to every pixel of a row; 3e5 pixels
    assert pulls.std() == pytest.approx(1.0, abs=0.05)
    assert abs(np.mean(night.bias.image.data - night.detector.bias)) < 0.2
    assert night.bias.noise * CONFIG.gain == pytest.approx(CONFIG.read_noise, rel=0.03)


def test_bias_and_dark_together_are_recovered_within_their_errors(night: Night) -> None:
    dark, good = night.dark.image, ~night.detector.bad
    truth = night.detector.dark * DARK_S / CONFIG.gain
    both = dark.with_(data=dark.data + night.bias.image.data - night.detector.bias)
    pulls = pulls_of(both, truth, good)
    assert pulls.std() == pytest.approx(1.0, abs=0.05)
    assert abs(pulls.mean()) < 0.1


def test_the_flat_is_recovered_within_its_errors(night: Night) -> None:
    truth = night.detector.response / night.unit
    pulls = pulls_of(night.flat.image, truth, ~night.detector.bad)
    assert pulls.std() == pytest.approx(1.0, abs=0.05)
    assert abs(pulls.mean()) < 0.1


def test_bad_pixels_are_found_and_good_ones_left_alone(night: Night) -> None:
    found = (night.bias.image.mask | night.dark.image.mask | night.flat.image.mask) != 0
    bad = night.detector.bad
    assert bad.sum() > 500
    assert (found & bad).sum() >= 0.99 * bad.sum()
    # a column of which most is dead is taken whole between its ends: that is no false alarm
    columns = grow_columns(bad)
    assert (found & ~columns).sum() <= 1e-5 * bad.size


def test_no_cosmic_ray_reaches_a_master(night: Night) -> None:
    assert night.n_cosmic_rays > 20
    truth = night.detector.dark * DARK_S / CONFIG.gain
    error = np.abs(night.dark.image.data - truth)[~night.detector.bad]
    # a hit of 1000 electrons in one of 8 frames would leave 70 adu; 8 frames of 6 e leave 1.3
    assert error.max() < 15.0
    assert night.dark.n_clipped >= 0.9 * night.n_cosmic_rays


def test_a_calibrated_frame_is_the_light_that_fell_within_its_noise(night: Night) -> None:
    ny, nx = CONFIG.shape
    y, x = np.mgrid[0:ny, 0:nx]
    light = 2000.0 + 2.0 * x + 20_000.0 * np.exp(-((x - 200) ** 2 + (y - 300) ** 2) / 2000.0)
    frame = read_out(night.detector, light, exposure_s=DARK_S, rng=np.random.default_rng(11))
    done = calibrate(frame, night.masters)
    assert done.steps == ("overscan", "trim", "bias", "dark", "flat")
    good = (done.image.mask == 0) & ~frame.cosmic_rays
    pulls = pulls_of(done.image, light * night.unit / CONFIG.gain, good)
    assert pulls.std() == pytest.approx(1.0, abs=0.05)
    assert abs(pulls.mean()) < 0.05


def test_stars_keep_their_flux(night: Night) -> None:
    ny, nx = CONFIG.shape
    y, x = np.mgrid[0:ny, 0:nx]
    at = [(column, row) for column in range(40, nx - 30, 60) for row in range(40, ny - 30, 60)]
    light, flux = np.full(CONFIG.shape, 500.0), 4e5
    for column, row in at:
        window = np.s_[row - 20 : row + 21, column - 20 : column + 21]
        core = np.exp(-((x[window] - column) ** 2 + (y[window] - row) ** 2) / (2 * 2.5**2))
        light[window] += flux * core / core.sum()
    frame = read_out(night.detector, light, exposure_s=DARK_S, rng=np.random.default_rng(12))
    done = calibrate(frame, night.masters)
    harmed = (done.image.mask != 0) | frame.cosmic_rays
    ratios = []
    for column, row in at:
        window = np.s_[row - 12 : row + 13, column - 12 : column + 13]
        if not harmed[window].any():
            got = float((done.image.data[window] * CONFIG.gain / night.unit - 500.0).sum())
            ratios.append(got / float((light[window] - 500.0).sum()))
    assert len(ratios) > 20
    # 4e5 electrons: 0.18 % of noise for one star, 0.04 % for the mean of 20
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.002)
    assert np.abs(np.array(ratios) - 1.0).max() < 0.008


def test_a_dark_is_scaled_to_the_exposure(night: Night) -> None:
    frame = read_out(night.detector, 0.0, exposure_s=20.0, rng=np.random.default_rng(13))
    calibration = CalibrationSet(night.bias.image, night.dark.image, dark_scale=20.0 / DARK_S)
    done = calibrate(frame, calibration)
    assert done.steps[-1] == "dark x 0.3333"
    good = (done.image.mask == 0) & ~frame.cosmic_rays
    pulls = pulls_of(done.image, np.zeros(CONFIG.shape), good)
    assert pulls.std() == pytest.approx(1.0, abs=0.05)
    assert abs(done.image.data[good].mean()) < 0.1


def test_what_was_saturated_stays_flagged_after_the_flat(night: Night) -> None:
    light = np.full(CONFIG.shape, 1000.0)
    light[100:110, 100:110] = 2e5
    frame = read_out(night.detector, light, exposure_s=DARK_S, rng=np.random.default_rng(14))
    done = calibrate(frame, night.masters)
    flagged = (done.image.mask & np.uint16(MaskPlane.SATURATED)) != 0
    assert (flagged[100:110, 100:110] | night.detector.bad[100:110, 100:110]).all()
    assert flagged.sum() <= 100 + night.detector.hot.sum()


def test_masters_of_another_size_are_refused(night: Night) -> None:
    small = Image(np.zeros((4, 4), np.float32), np.zeros((4, 4), np.uint16), np.ones((4, 4)))
    frame = read_out(night.detector, 0.0, exposure_s=0.0, rng=np.random.default_rng(15))
    with pytest.raises(AlgorithmError, match="the master flat has 4 x 4 pixels") as refusal:
        calibrate(frame, CalibrationSet(flat=small))
    assert refusal.value.numbers["nx"] == CONFIG.shape[1]


def test_two_nights_of_one_detector_agree_and_a_changed_one_is_told(night: Night) -> None:
    same = build_night(CONFIG, mjd=61101.0)
    for kind in ("bias", "dark", "flat"):
        found = compare_masters(getattr(same, kind), getattr(night, kind), kind=kind)
        assert found.verdict == "pass", (kind, found)
        # the differences are noise; the errors of two biases of 12 frames come on top of those of
        # two darks of 8: sqrt(1 + 8 / 12)
        expected = 1.29 if kind == "dark" else 1.0
        assert found.numbers["width"] == pytest.approx(expected, abs=0.1)
    data = same.flat.image.data.copy()
    data[200:320, 200:320] *= 0.97
    dusty = Master(same.flat.image.with_(data=data), same.flat.noise, 1.0, 8, 0, 0)
    found = compare_masters(dusty, night.flat, kind="flat")
    assert found.verdict == "changed"
    assert any("pixels changed" in reason for reason in found.reasons)
    assert compare_masters(night.flat, None, kind="flat").verdict == "first"


def test_a_noisy_pixel_is_told_from_a_cosmic_ray() -> None:
    rng = np.random.default_rng(16)
    stack = rng.normal(100.0, 3.0, (12, 96, 96)).astype(np.float32)
    stack[:, 40, 40] += rng.normal(0.0, 60.0, 12)
    stack[5, 20, 20] += 5000.0
    found = combine_frames(stack)
    assert found.noisy[40, 40]
    assert not found.noisy[20, 20]
    assert found.n_used[20, 20] == 11
    assert found.mean[20, 20] == pytest.approx(100.0, abs=5.0)
    assert found.noisy.sum() == 1


@pytest.mark.parametrize("n", [3, 4, 7])
def test_the_variance_of_a_mean_of_few_frames_is_right(n: int) -> None:
    stack = np.random.default_rng(17).normal(0.0, 2.0, (n, 256, 256)).astype(np.float32)
    found = combine_frames(stack)
    pulls = found.mean / np.sqrt(found.variance)
    # 6.5e4 pixels fix the width to 0.3 %
    assert pulls.std() == pytest.approx(1.0, abs=0.02)
    assert found.n_clipped < 1e-4 * stack.size


def test_two_frames_are_too_few() -> None:
    with pytest.raises(AlgorithmError, match="3 or more") as refusal:
        combine_frames(np.zeros((2, 40, 40), dtype=np.float32))
    assert refusal.value.numbers == {"n_frames": 2, "n_required": 3}


def test_bands_of_rows_give_what_the_whole_gives() -> None:
    stack = np.random.default_rng(18).normal(10.0, 2.0, (5, 200, 90)).astype(np.float32)
    stack[1, 3, 4] = np.nan
    whole, parts = combine_frames(stack), combine_frames(stack, block_bytes=1)
    for name in ("mean", "variance", "noisy", "n_used"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_crosstalk_is_removed_where_a_table_is_given() -> None:
    config = DetectorConfig(shape=(128, 128), crosstalk=2e-3, hot_fraction=0.0, seed=7)
    detector = make_detector(config)
    light = np.full(config.shape, 200.0)
    light[60:68, 20:28] = 80_000.0
    frame = read_out(detector, light, exposure_s=1.0, rng=np.random.default_rng(20))
    halves = (Section(0, 64, 0, 128), Section(64, 128, 0, 128))
    table = Crosstalk(halves, ((False, False), (True, False)), np.array([[0, 2e-3], [2e-3, 0]]))
    plain = readout_of(frame)
    ghost = np.s_[60:68, 100:108]
    levels = []
    for readout in (plain, Readout(plain.overscan, plain.image, table)):
        done = calibrate_image(image_of(frame), CalibrationSet(), readout)
        corrected = done.image.data - detector.bias - light * detector.response / config.gain
        levels.append(float(np.median(corrected[ghost])))
    source = light[60:68, 20:28] * detector.response[60:68, 20:28]
    # 64 pixels of noise 12 adu: the median is known to 1.9 adu
    assert levels[0] == pytest.approx(2e-3 * np.median(source) / config.gain, abs=7.0)
    assert abs(levels[1]) < 7.0
