"""Raw frames of a camera with what is known of their read-out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid_site.core.storage import local_copy
from astrid_site.imaging.errors import AlgorithmError
from observations.algorithms.frame_kinds import ReadoutCards, read_readout
from observations.services.frames import metadata_of
from preprocessing.models import CalibrationFrame, Camera

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from preprocessing.algorithms.calibration import Readout
    from preprocessing.algorithms.detector_properties import Linearity
    from preprocessing.algorithms.readout import Crosstalk


def load_calibration_frame(row: CalibrationFrame) -> Image:
    """A raw calibration frame through the gate, with what header and survey say of it."""
    from astrid_site.imaging.fits_io import read_image

    hdu = int(row.hdu) if row.hdu.isdigit() else row.hdu or None
    with local_copy(row.file) as path:
        source = read_image(path, file_name=row.name, hdu=hdu)
    survey = row.camera.survey
    said = metadata_of(row.header, survey=survey, file_name=row.name)
    return source.image.with_(
        wcs=None,
        gain=said.gain or survey.gain,
        read_noise=survey.read_noise if said.read_noise is None else said.read_noise,
        saturation=said.saturation or survey.saturation,
        exposure_s=row.exposure_s,
    )


def readout_of(camera: Camera, header: Mapping[str, Any], *, shape: tuple[int, int]) -> Readout:
    """Overscan, image part and crosstalk of a frame: the camera's word before the header's.

    Raises
    ------
    AlgorithmError
        If the camera's sections or crosstalk table cannot be.
    """
    from preprocessing.algorithms.calibration import Readout
    from preprocessing.algorithms.readout import parse_section

    cards: ReadoutCards = read_readout(header)
    for text in (camera.overscan_section, camera.image_section):
        if text and parse_section(text, shape=shape) is None:
            msg = f"the camera's section {text} does not lie in its frames"
            raise AlgorithmError(msg, nx=shape[1], ny=shape[0])
    overscan = None
    if "overscan" not in cards.done:
        overscan = parse_section(camera.overscan_section or cards.overscan, shape=shape)
    image = parse_section(camera.image_section or cards.image, shape=shape)
    return Readout(overscan, image, _crosstalk(camera, image.shape if image else shape))


def _crosstalk(camera: Camera, shape: tuple[int, int]) -> Crosstalk | None:
    from preprocessing.algorithms.readout import Crosstalk, parse_section

    table = camera.crosstalk
    if not table:
        return None
    try:
        sections = [parse_section(str(text), shape=shape) for text in table["sections"]]
        flips = tuple((bool(x), bool(y)) for x, y in table["flips"])
        coefficients = np.array(table["coefficients"], dtype=np.float64)
        if None in sections or not np.isfinite(coefficients).all():
            msg = f"sections {table['sections']} do not all lie in {shape[1]} x {shape[0]} pixels"
            raise ValueError(msg)
        return Crosstalk(tuple(s for s in sections if s is not None), flips, coefficients)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the camera's crosstalk table cannot be used: {error}"
        raise AlgorithmError(msg) from error


def linearity_of(camera: Camera) -> Linearity | None:
    """The camera's measured curve, where it is to be used."""
    from preprocessing.algorithms.detector_properties import Linearity

    if not camera.use_measured or not camera.linearity:
        return None
    return Linearity(**{key: float(value) for key, value in camera.linearity.items()})


def with_measured_properties(frame: Image, camera: Camera) -> Image:
    """The frame with the measured gain and read noise, where they are to be used."""
    if not camera.use_measured:
        return frame
    changes = {
        name: value
        for name, value in (("gain", camera.gain), ("read_noise", camera.read_noise))
        if value is not None and math.isfinite(value)
    }
    return frame.with_(**changes)
