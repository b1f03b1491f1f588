"""Frames of one set on one scale, on disk, and their combination."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError, ImageReadError
from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.scratch import scratch_folder
from preprocessing.models import CalibrationFrame, CalibrationKind, CalibrationMaster, Camera
from preprocessing.services.frame_sets import FrameSet
from preprocessing.services.products import load_image
from preprocessing.services.readout import linearity_of, load_calibration_frame, readout_of

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from preprocessing.algorithms.masters import Master

#: A flat with more saturated pixels than this, or less light than so many times its noise.
_MAX_SATURATED, _MIN_LIGHT = 0.02, 20.0


@dataclass(frozen=True)
class Ingredients:
    """What the frames of a set are freed of before they are combined."""

    camera: Camera
    bias: CalibrationMaster | None = None
    dark: CalibrationMaster | None = None

    def names(self) -> list[str]:
        """Words that change whenever the masters made with them must be made anew."""
        camera = self.camera
        # that a curve is used, not the curve: each night measures it a little differently
        way = [camera.overscan_section, camera.image_section, camera.crosstalk, camera.use_measured]
        made_with = [row.digest for row in (self.bias, self.dark) if row is not None]
        return [json.dumps(way, sort_keys=True), *made_with]


@dataclass(frozen=True)
class PreparedFrame:
    """A calibration frame without what belongs to other masters.

    Attributes
    ----------
    data : NDArray[float32], shape (ny, nx)
        Data units; NaN where there is no usable value.
    level : float
        Mean of the usable pixels, outliers left out.
    saturated : float
        Share of saturated pixels.
    """

    data: NDArray[np.float32]
    level: float
    saturated: float


class FramePreparation:
    """Frees frames of a camera of their read-out and of the masters below them."""

    def __init__(self, made_with: Ingredients) -> None:
        self.camera = made_with.camera
        self.linearity = linearity_of(made_with.camera)
        self.bias = self._load(made_with.bias)
        self.dark = self._load(made_with.dark)
        if made_with.dark is not None and made_with.dark.includes_bias:
            self.bias = None

    @staticmethod
    def _load(row: CalibrationMaster | None) -> Image | None:
        return None if row is None else load_image(row.file)

    def prepare(self, row: CalibrationFrame) -> PreparedFrame:
        """One frame of the camera.

        Raises
        ------
        AlgorithmError
            If it has another shape than the masters.
        """
        from preprocessing.algorithms.calibration import CalibrationSet, calibrate_image
        from preprocessing.algorithms.readout import clipped_mean

        raw = load_calibration_frame(row)
        scale = 1.0
        if self.dark is not None and self.dark.exposure_s and row.exposure_s:
            scale = row.exposure_s / self.dark.exposure_s
        is_signal = row.kind != CalibrationKind.BIAS and self.bias is not None
        calibration = CalibrationSet(
            bias=self.bias,
            dark=self.dark,
            dark_scale=scale,
            linearity=self.linearity if is_signal else None,
        )
        readout = readout_of(self.camera, row.header, shape=raw.shape)
        image = calibrate_image(raw, calibration, readout).image
        saturated = is_bad(image.mask, MaskPlane.SATURATED)
        lost = saturated | is_bad(image.mask, MaskPlane.NO_DATA)
        data = np.where(lost, np.float32(np.nan), image.data)
        good = data[np.isfinite(data)]
        if not good.size:
            msg = f"{row.name}: no pixel is usable"
            raise AlgorithmError(msg, n_good=0)
        level = float(clipped_mean(good[:: max(good.size // 2_000_000, 1)][None, :], axis=1)[0])
        return PreparedFrame(data, level, float(saturated.mean()))


def combine_set(
    camera: Camera, frame_set: FrameSet, made_with: Ingredients
) -> tuple[Master, list[CalibrationFrame]]:
    """Combine the frames of a set; returns the master and the frames that are in it.

    Frames that cannot be used say why in their row.

    Raises
    ------
    AlgorithmError
        If fewer than 3 frames are usable.
    """
    from preprocessing.algorithms import masters

    with _stacked(frame_set, FramePreparation(made_with)) as (stack, used, levels):
        if frame_set.kind == CalibrationKind.BIAS:
            return masters.build_bias(stack), used
        if frame_set.kind == CalibrationKind.DARK:
            return masters.build_dark(stack, exposure_s=frame_set.exposure_s or 0.0), used
        return masters.build_flat(stack, levels=np.array(levels)), used


@contextmanager
def _stacked(
    frame_set: FrameSet, preparation: FramePreparation
) -> Iterator[tuple[NDArray[np.float32], list[CalibrationFrame], list[float]]]:
    """Usable frames in a file that is mapped, not read: memory does not grow with their number."""
    used: list[CalibrationFrame] = []
    levels: list[float] = []
    with scratch_folder() as folder:
        stack: NDArray[np.float32] | None = None
        for row in frame_set.frames:
            prepared, problem = try_to_prepare(row, preparation)
            if prepared is None:
                _note(row, problem)
                continue
            problem = _problem(frame_set.kind, prepared)
            if stack is not None and stack.shape[1:] != prepared.data.shape:
                problem = "its image part has another shape than that of the frames before it"
            _note(row, problem)
            if problem:
                continue
            if stack is None:
                shape = (len(frame_set.frames), *prepared.data.shape)
                stack = np.lib.format.open_memmap(
                    folder / "stack.npy", mode="w+", dtype=np.float32, shape=shape
                )
            scale = prepared.level if frame_set.kind == CalibrationKind.FLAT else 1.0
            stack[len(used)] = prepared.data / np.float32(scale)
            used.append(row)
            levels.append(prepared.level)
        if stack is None:
            msg = "none of the frames is usable"
            raise AlgorithmError(msg, n_frames=0)
        yield stack[: len(used)], used, levels


def try_to_prepare(
    row: CalibrationFrame, preparation: FramePreparation
) -> tuple[PreparedFrame | None, str]:
    """One frame, or why it cannot be used: one bad frame must not spoil the night."""
    try:
        return preparation.prepare(row), ""
    except (AlgorithmError, ImageReadError) as error:
        return None, str(error)


def _problem(kind: str, prepared: PreparedFrame) -> str:
    if kind != CalibrationKind.FLAT:
        return ""
    if prepared.saturated > _MAX_SATURATED:
        return f"{100 * prepared.saturated:.1f} % of its pixels are saturated"
    if prepared.level < _MIN_LIGHT:
        return f"too little light: {prepared.level:.1f} counts above the bias"
    return ""


def _note(row: CalibrationFrame, problem: str) -> None:
    if row.problem != problem:
        row.problem = problem
        row.save(update_fields=["problem"])
