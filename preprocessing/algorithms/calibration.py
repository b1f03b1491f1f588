"""Take the detector out of a frame: overscan, bias, linearity, dark, flat, bad pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane, is_bad
from preprocessing.algorithms.detector_properties import Linearity
from preprocessing.algorithms.readout import (
    Crosstalk,
    Section,
    correct_crosstalk,
    overscan_level,
)

FloatArray = NDArray[np.float32]

_LINEAR_FRACTION = 0.97
_LEAST_RESPONSE = 0.05
_ROUNDING_VARIANCE = 1.0 / 12.0


@dataclass(frozen=True)
class Readout:
    """How a frame was read out.

    Attributes
    ----------
    overscan : Section or None
        Strip without light, beside the image.
    image : Section or None
        Part that sees light; None where it is the whole frame.
    crosstalk : Crosstalk or None
        What the amplifiers show of each other, for the image part.
    """

    overscan: Section | None = None
    image: Section | None = None
    crosstalk: Crosstalk | None = None


@dataclass(frozen=True)
class CalibrationSet:
    """What a frame is calibrated with; None is not applied.

    Attributes
    ----------
    bias, dark, flat : Image or None
        Masters: data, variance, mask. A dark that still holds the bias needs ``bias`` None.
    dark_scale : float
        Exposure of the frame over that of the dark.
    linearity : Linearity or None
        Curve of the detector.
    """

    bias: Image | None = None
    dark: Image | None = None
    flat: Image | None = None
    dark_scale: float = 1.0
    linearity: Linearity | None = None


@dataclass(frozen=True)
class Calibrated:
    """A frame without its detector.

    Attributes
    ----------
    image : Image
        In the same units, the flat being 1 on the median; with variance where the gain is known,
        and with ``SATURATED``, ``BAD_PIXEL`` and ``NO_DATA`` in the mask.
    steps : tuple of str
        What was done, in order.
    pedestal : float
        Median level removed by overscan and bias [data units].
    """

    image: Image
    steps: tuple[str, ...]
    pedestal: float


def strip_readout(image: Image, readout: Readout) -> tuple[Image, tuple[str, ...], float]:
    """Remove overscan and crosstalk, and cut the frame to the pixels that see light.

    Parameters
    ----------
    image : Image
        Raw frame.
    readout : Readout
        Its layout.

    Returns
    -------
    tuple of (Image, tuple of str, float)
        The frame, what was done, and the median level removed [data units].
    """
    steps: list[str] = []
    pedestal = 0.0
    unusable = is_bad(image.mask, MaskPlane.NO_DATA)
    data, mask, wcs = image.data, image.mask.copy(), image.wcs
    saturated = _saturated(image)
    mask[saturated & ~unusable] |= np.uint16(MaskPlane.SATURATED)
    if readout.overscan is not None:
        level = overscan_level(data, readout.overscan)
        pedestal = float(np.median(level))
        data = np.where(unusable, np.float32(0), data - level).astype(np.float32)
        steps.append("overscan")
    if readout.image is not None and readout.image.shape != image.shape:
        window = readout.image.window
        data, mask = np.ascontiguousarray(data[window]), np.ascontiguousarray(mask[window])
        wcs = _moved(wcs, readout.image)
        steps.append("trim")
    if readout.crosstalk is not None:
        data = correct_crosstalk(data, readout.crosstalk)
        steps.append("crosstalk")
    level_left = None if image.saturation is None else image.saturation - pedestal
    stripped = image.with_(
        data=data, mask=mask, wcs=wcs, variance=None, psf=None, saturation=level_left
    )
    return stripped, tuple(steps), pedestal


def _saturated(image: Image) -> NDArray[np.bool_]:
    level = image.saturation
    if level is None or not np.isfinite(level) or level <= 0:
        return np.zeros(image.shape, dtype=bool)
    return np.asarray(image.data >= _LINEAR_FRACTION * level)


def _moved(wcs: WCS | None, section: Section) -> WCS | None:
    if wcs is None:
        return None
    return wcs[section.y0 : section.y1, section.x0 : section.x1]


def calibrate_image(image: Image, calibration: CalibrationSet, readout: Readout) -> Calibrated:
    """Calibrate a raw frame with the masters that fit it.

    Parameters
    ----------
    image : Image
        Raw frame with gain [electrons per data unit], read noise [electrons] and saturation
        [data units] where they are known.
    calibration : CalibrationSet
        Masters on the grid of the image part.
    readout : Readout
        Overscan, image part and crosstalk of the frame.

    Returns
    -------
    Calibrated

    Raises
    ------
    AlgorithmError
        If a master has another shape than the frame.

    Notes
    -----
    The variance is that of photons and read noise in the raw counts, to which the errors of the
    masters are added; a flat divides it by its square. Saturated pixels are told on the raw counts
    and stay flagged whatever the flat makes of their value.

    References
    ----------
    .. [1] Howell 2006, Handbook of CCD Astronomy, section 4.5.
    """
    frame, steps, pedestal = strip_readout(image, readout)
    _check_shapes(frame, calibration)
    done = list(steps)
    data, mask = frame.data, frame.mask.copy()
    variance = np.zeros(frame.shape, dtype=np.float32)
    bias, dark, flat = calibration.bias, calibration.dark, calibration.flat
    saturation = frame.saturation
    if bias is not None:
        data = data - bias.data
        # the dark was made with the bias too: what the bias has too much, the dark has too little
        left = 1.0 if dark is None else 1.0 - calibration.dark_scale
        variance += np.float32(left**2) * _variance_of(bias)
        level = float(np.median(bias.data))
        pedestal += level
        saturation = None if saturation is None else saturation - level
        done.append("bias")
    variance += _count_variance(data, frame)
    if calibration.linearity is not None:
        variance *= calibration.linearity.slope(data) ** 2
        data = calibration.linearity.correct(data)
        done.append("linearity")
    if dark is not None:
        scale = np.float32(calibration.dark_scale)
        data = data - scale * dark.data
        variance += scale**2 * _variance_of(dark)
        done.append("dark" if abs(scale - 1.0) < 1e-3 else f"dark x {float(scale):.4g}")
    if flat is not None:
        response = np.where(flat.data > _LEAST_RESPONSE, flat.data, np.float32(1))
        data = np.asarray(data / response, dtype=np.float32)
        variance /= response**2
        variance += (data / response) ** 2 * _variance_of(flat)
        done.append("flat")
    for master in (bias, dark, flat):
        if master is not None:
            mask |= master.mask
    lost = is_bad(mask, MaskPlane.NO_DATA)
    known = frame.gain is not None and frame.read_noise is not None
    result = frame.with_(
        data=np.where(lost, np.float32(0), data).astype(np.float32),
        mask=mask,
        variance=variance.astype(np.float32) if known else None,
        saturation=saturation,
    )
    return Calibrated(result, tuple(done), pedestal)


def has_negative_sky(image: Image) -> bool:
    """Whether a calibrated frame lies below zero, as one does whose bias was removed twice.

    Parameters
    ----------
    image : Image
        Calibrated, with its sky.

    Returns
    -------
    bool
        True where the median lies more than 3 standard deviations of a pixel below zero.
    """
    good = ~is_bad(image.mask)
    values = image.data[good][:: max(int(good.sum()) // 1_000_000, 1)]
    if not values.size:
        return False
    level = float(np.median(values))
    width = 1.4826 * float(np.median(np.abs(values - level)))
    return level < -3.0 * max(width, 1.0)


def _check_shapes(frame: Image, calibration: CalibrationSet) -> None:
    for name in ("bias", "dark", "flat"):
        master = getattr(calibration, name)
        if master is not None and master.shape != frame.shape:
            msg = (
                f"the master {name} has {master.shape[1]} x {master.shape[0]} pixels, "
                f"the frame {frame.shape[1]} x {frame.shape[0]}"
            )
            raise AlgorithmError(msg, nx=frame.shape[1], ny=frame.shape[0])


def _variance_of(master: Image) -> FloatArray:
    if master.variance is None:
        msg = "master: has no variance"
        raise ValueError(msg)
    return master.variance


def _count_variance(data: FloatArray, frame: Image) -> FloatArray:
    """Variance of raw counts [data units^2]: photons and read noise, where they are known."""
    if frame.gain is None or frame.read_noise is None:
        return np.zeros(frame.shape, dtype=np.float32)
    photons = np.maximum(data, 0.0) / frame.gain
    fixed = (frame.read_noise / frame.gain) ** 2 + _ROUNDING_VARIANCE
    return np.asarray(photons + fixed, dtype=np.float32)
