"""What a camera's own frames say of its gain, read noise, linearity and saturation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from django.utils import timezone

from astrid_site.imaging.errors import AlgorithmError
from preprocessing.models import CalibrationFrame, CalibrationKind, Camera
from preprocessing.selectors import usable_masters
from preprocessing.services.frame_sets import MIN_FRAMES, FrameSet
from preprocessing.services.readout import load_calibration_frame
from preprocessing.services.stacking import (
    FramePreparation,
    Ingredients,
    PreparedFrame,
    try_to_prepare,
)

if TYPE_CHECKING:
    from preprocessing.algorithms.detector_properties import Linearity, Measured

#: Frames that are measured at most; each pair of flats fixes the gain to a per cent or better.
_MAX_FLATS = 12
#: Stated and measured numbers that differ by more than this are told.
_TOLERANCE = 0.1
_MAX_SATURATED = 0.02


def measure_camera(camera: Camera, sets: Sequence[FrameSet]) -> list[str]:
    """Measure a camera on its latest frames, keep the numbers, and return what is doubtful.

    The numbers are used only where the camera says so (``use_measured``).
    """
    biases = [s for s in sets if s.kind == CalibrationKind.BIAS]
    flats = [s for s in sets if s.kind == CalibrationKind.FLAT]
    if not biases:
        return []
    warnings: list[str] = []
    preparation = FramePreparation(Ingredients(camera))
    pair = _prepare(biases[-1].frames[:MIN_FRAMES], preparation)
    if len(pair) < 2:
        return ["read noise not measured: the latest bias frames cannot be read"]
    noise = _read_noise(pair[0][1].data, pair[1][1].data)
    gain = _measure_flats(camera, flats, read_noise_adu=noise, warnings=warnings) if flats else None
    if gain is not None:
        camera.gain, camera.gain_error = gain.value, gain.error
        camera.read_noise = noise * gain.value
    stated = load_calibration_frame(biases[-1].frames[0])
    camera.stated_gain = stated.gain
    camera.measured_at = timezone.now()
    warnings += _doubts(camera, stated_read_noise=stated.read_noise)
    camera.save()
    return warnings


def _prepare(
    rows: Sequence[CalibrationFrame], preparation: FramePreparation
) -> list[tuple[CalibrationFrame, PreparedFrame]]:
    """Those of the frames that can be used."""
    tried = [(row, try_to_prepare(row, preparation)[0]) for row in rows]
    return [(row, frame) for row, frame in tried if frame is not None]


def _read_noise(first: np.ndarray, second: np.ndarray) -> float:
    from preprocessing.algorithms.detector_properties import measure_read_noise

    return measure_read_noise(first, second).value


def _measure_flats(
    camera: Camera, sets: Sequence[FrameSet], *, read_noise_adu: float, warnings: list[str]
) -> Measured | None:
    """Linearity, saturation and gain from the latest flats that tell most; None without any."""
    latest = max(s.first for s in sets)
    recent = [s for s in sets if (latest - s.first).days < 1]
    chosen = max(recent, key=lambda s: (len({f.exposure_s for f in s.frames}), len(s.frames)))
    bias = next(iter(usable_masters(camera, CalibrationKind.BIAS, chosen.first)), None)
    if bias is None:
        return None
    preparation = FramePreparation(Ingredients(camera, bias=bias))
    preparation.linearity = None  # it is about to be measured
    rows = _spread(chosen.frames)
    prepared = _prepare(rows, preparation)
    times = np.array([row.exposure_s or np.nan for row, _ in prepared])
    levels = np.array([frame.level for _, frame in prepared])
    dated = np.isfinite(times) & (times > 0) & (levels > 0)
    if dated.any():
        camera.saturation = _saturation(times[dated], levels[dated])
    good = [
        (row, frame)
        for row, frame in prepared
        if frame.saturated <= _MAX_SATURATED
        and (camera.saturation is None or frame.level < 0.9 * camera.saturation)
    ]
    curve = _linearity(good)
    camera.linearity = {} if curve is None else asdict(curve)
    return _gain([frame for _, frame in good], curve, read_noise_adu, warnings=warnings)


def _spread(frames: Sequence[CalibrationFrame]) -> list[CalibrationFrame]:
    """At most so many flats, of as many exposure times as there are, two of each where possible."""
    by_time: dict[float | None, list[CalibrationFrame]] = {}
    for frame in frames:
        by_time.setdefault(frame.exposure_s, []).append(frame)
    rounds = max(len(group) for group in by_time.values())
    order = [
        group[number]
        for number in range(rounds)
        for group in by_time.values()
        if number < len(group)
    ]
    chosen = order[:_MAX_FLATS]
    return sorted(chosen, key=lambda frame: (frame.exposure_s or 0.0, frame.name))


def _saturation(times: np.ndarray, levels: np.ndarray) -> float | None:
    from preprocessing.algorithms.detector_properties import find_saturation

    return find_saturation(times, levels)


def _linearity(
    frames: Sequence[tuple[CalibrationFrame, PreparedFrame]],
) -> Linearity | None:
    """The curve, or None where the flats cannot tell it: most nights take flats of one length."""
    from preprocessing.algorithms.detector_properties import fit_linearity

    told = [(row.exposure_s, frame.level) for row, frame in frames if row.exposure_s]
    try:
        return fit_linearity(np.array([t for t, _ in told]), np.array([m for _, m in told]))
    except AlgorithmError:
        return None


def _gain(
    frames: Sequence[PreparedFrame],
    curve: Linearity | None,
    read_noise_adu: float,
    *,
    warnings: list[str],
) -> Measured | None:
    """Mean gain of successive pairs of flats, weighted by their errors."""
    from preprocessing.algorithms.detector_properties import Measured, measure_gain

    values = []
    reason = "two flats are needed to measure the gain"
    # pairs of like levels tell most
    ordered = sorted(frames, key=lambda frame: frame.level)
    for first, second in zip(ordered[::2], ordered[1::2], strict=False):
        pair = [
            frame.data if curve is None else curve.correct(frame.data) for frame in (first, second)
        ]
        try:
            values.append(measure_gain(pair[0], pair[1], read_noise_adu=read_noise_adu))
        except AlgorithmError as error:
            reason = str(error)
    if not values:
        warnings.append(f"gain not measured: {reason}")
        return None
    weights = np.array([1.0 / value.error**2 for value in values])
    mean = float((weights * np.array([value.value for value in values])).sum() / weights.sum())
    return Measured(mean, float(1.0 / np.sqrt(weights.sum())))


def _doubts(camera: Camera, *, stated_read_noise: float | None) -> list[str]:
    """Where headers and frames disagree."""
    pairs = (
        ("gain", camera.stated_gain, camera.gain, "e/adu"),
        ("read noise", stated_read_noise, camera.read_noise, "e"),
    )
    return [
        f"the {name} is stated as {stated:.3g} {unit}, the frames say {measured:.3g} {unit}"
        for name, stated, measured, unit in pairs
        if stated and measured and abs(measured / stated - 1.0) > _TOLERANCE
    ]
