"""Taking the detector out of one observation's raw frame, with the masters that fit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.core.errors import NotYetError
from observations.algorithms.frame_kinds import read_readout
from observations.models import Observation
from preprocessing.models import CalibrationMaster, Camera, ScienceImage
from preprocessing.selectors import REFUSED, Matched, camera_of, is_building, match_observation
from preprocessing.services.products import load_image
from preprocessing.services.readout import linearity_of, readout_of, with_measured_properties

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from preprocessing.algorithms.calibration import Calibrated, Readout
    from preprocessing.algorithms.detector_properties import GainCheck
    from preprocessing.algorithms.readout import Section

#: ``metrics["calibration"]`` of a frame that no master fits.
NO_CALIBRATION = "none"


@dataclass(frozen=True)
class FrameCalibration:
    """A raw frame after calibration, or as it was, and what the run's row must say of it.

    Attributes
    ----------
    image : Image
        The frame that preprocessing goes on with.
    masters : dict
        Masters used by kind; empty where none fits.
    section : Section or None
        Part of the raw frame that is left, where it was trimmed.
    metrics : dict
        ``calibration`` (steps, or "none"), ``gain_check`` and its numbers, ``quality_flags``.
    notes : tuple of str
        Why masters are missing, and what is doubtful.
    """

    image: Image
    masters: dict[str, CalibrationMaster] = field(default_factory=dict)
    section: Section | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def inputs(self) -> dict[str, str]:
        """sha256 of every master used."""
        return {f"master_{kind}": row.file.sha256 for kind, row in self.masters.items()}

    @property
    def cards(self) -> dict[str, Any]:
        """FITS cards that name the masters."""
        return {f"{kind[:4].upper()}SHA": row.file.sha256 for kind, row in self.masters.items()}

    def save_to(self, science: ScienceImage) -> None:
        """Say in the run's row which masters were used; saved by the caller."""
        science.bias_master = self.masters.get("bias")
        science.dark_master = self.masters.get("dark")
        science.flat_master = self.masters.get("flat")

    def cut(self, plane: NDArray[Any]) -> NDArray[Any]:
        """The part of a plane of the raw frame's size that is left."""
        if self.section is None or plane.shape == self.image.shape:
            return plane
        return np.ascontiguousarray(plane[self.section.window])


def calibrate_observation(observation: Observation, raw: Image) -> FrameCalibration:
    """Calibrate a raw frame with the masters that fit it; without any it goes on as it is.

    Raises
    ------
    NotYetError
        While masters of its camera are being built.
    AlgorithmError
        If a master or the camera's tables do not fit the frame.
    """
    camera = camera_of(observation)
    cards = read_readout(observation.header)
    if camera is None:
        silent = ("no calibration frames of its camera",)
        return _as_it_is(raw, silent, has_pedestal="bias" not in cards.done)
    if is_building(camera):
        msg = f"waits for the masters of {camera}"
        raise NotYetError(msg, retry_in_s=2.0)
    frame = with_measured_properties(raw, camera)
    matched = match_observation(camera, observation)
    masters = matched.masters
    if not masters:
        return _as_it_is(frame, matched.notes, has_pedestal="bias" not in cards.done)
    readout = readout_of(camera, observation.header, shape=raw.shape)
    calibrated = _apply(frame, camera, matched, readout=readout, is_bias_done="bias" in cards.done)
    if _is_done_twice(calibrated):
        notes = (*matched.notes, "no calibration: it would put the sky below zero, so that the "
                 "bias seems to be removed already")  # fmt: skip
        return _as_it_is(frame, notes, has_pedestal=False, flags=(REFUSED,))
    has_pedestal = not ({"bias", "dark"} & set(masters) or "bias" in cards.done)
    return _described(calibrated, masters, readout, matched.notes, has_pedestal=has_pedestal)


def cut_to_light(observation: Observation, raw: Image, *, shape: tuple[int, int]) -> Image:
    """The part of a raw frame that its calibrated image of a given shape shows."""
    camera = camera_of(observation) if raw.shape != shape else None
    if camera is None:
        return raw
    section = readout_of(camera, observation.header, shape=raw.shape).image
    if section is None or section.shape != shape:
        return raw
    window = section.window
    return raw.with_(data=raw.data[window].copy(), mask=raw.mask[window].copy(), wcs=None)


def _apply(
    frame: Image, camera: Camera, matched: Matched, *, readout: Readout, is_bias_done: bool
) -> Calibrated:
    from preprocessing.algorithms.calibration import CalibrationSet, calibrate_image

    calibration = CalibrationSet(
        bias=_load(matched.bias),
        dark=_load(matched.dark),
        flat=_load(matched.flat),
        dark_scale=matched.dark_scale,
        linearity=linearity_of(camera) if matched.bias is not None or is_bias_done else None,
    )
    done = calibrate_image(frame, calibration, readout)
    if camera.use_measured and camera.saturation is not None:
        # measured above the pedestal, which is gone now
        return replace(done, image=done.image.with_(saturation=camera.saturation))
    return done


def _is_done_twice(calibrated: Calibrated) -> bool:
    from preprocessing.algorithms.calibration import has_negative_sky

    return has_negative_sky(calibrated.image)


def _load(row: CalibrationMaster | None) -> Image | None:
    return None if row is None else load_image(row.file)


def _described(
    calibrated: Calibrated,
    masters: dict[str, CalibrationMaster],
    readout: Readout,
    notes: tuple[str, ...],
    *,
    has_pedestal: bool,
) -> FrameCalibration:
    check = _check_gain(calibrated.image, has_pedestal=has_pedestal)
    used = tuple(f"{kind}: {row} ({row.file.sha256[:10]})" for kind, row in masters.items())
    metrics = {
        "calibration": ", ".join(calibrated.steps),
        "pedestal": calibrated.pedestal,
        **_check_metrics(check),
    }
    return FrameCalibration(
        image=calibrated.image,
        masters=masters,
        section=readout.image if "trim" in calibrated.steps else None,
        metrics=metrics,
        notes=(*used, *notes, *_check_notes(check)),
    )


def _as_it_is(
    raw: Image, notes: tuple[str, ...], *, has_pedestal: bool, flags: tuple[str, ...] = ()
) -> FrameCalibration:
    check = _check_gain(raw, has_pedestal=has_pedestal)
    metrics = {"calibration": NO_CALIBRATION, "pedestal": None, **_check_metrics(check)}
    metrics["quality_flags"] = [*metrics["quality_flags"], *flags]
    return FrameCalibration(raw, metrics=metrics, notes=(*notes, *_check_notes(check)))


def _check_gain(image: Image, *, has_pedestal: bool) -> GainCheck:
    from preprocessing.algorithms.detector_properties import check_gain

    return check_gain(image, has_pedestal=has_pedestal)


def _check_metrics(check: GainCheck) -> Mapping[str, Any]:
    return {
        "gain_check": check.verdict,
        "gain_from_sky": check.measured,
        "sky_variance_ratio": check.noise_ratio,
        "quality_flags": ["gain_suspect"] if check.verdict == "suspect" else [],
    }


def _check_notes(check: GainCheck) -> tuple[str, ...]:
    if check.verdict == "pass":
        return ()
    word = "gain suspect" if check.verdict == "suspect" else "gain not checked"
    return (f"{word}: {check.reason}",)
