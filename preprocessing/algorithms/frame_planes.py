"""The planes of a frame on their way through its calibration, with as few copies as may be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskArray, MaskPlane, is_bad
from preprocessing.algorithms.background import Background
from preprocessing.algorithms.masking import estimate_saturation, mask_saturation
from preprocessing.algorithms.row_strips import row_strips

FloatArray = NDArray[np.float32]

_MIN_SIDE = 48
# the variance of a smaller or a larger unit, or its square, is no number of single precision
_VALUES = (1e-14, 1e14)
# step of what is kept of planes that nobody needs any more: a background box
_THIN = 64


def with_masks(
    image: Image, *, given_mask: MaskArray | None, given_variance: FloatArray | None
) -> Image:
    """The frame with finite pixels, and every reason to distrust one in its mask."""
    if min(image.shape) < _MIN_SIDE:
        msg = f"the frame is too small to calibrate: {image.shape[1]} x {image.shape[0]} pixels"
        raise AlgorithmError(msg, nx=image.shape[1], ny=image.shape[0], side_required=_MIN_SIDE)
    mask = image.mask.copy()
    data = image.data
    if given_mask is not None:
        mask |= given_mask
    for rows in row_strips(mask.shape):
        usable = np.isfinite(image.data[rows])
        if given_variance is not None:
            usable &= np.isfinite(given_variance[rows]) & (given_variance[rows] > 0)
        if not usable.all():
            mask[rows][~usable] |= np.uint16(MaskPlane.NO_DATA)
        lost = is_bad(mask[rows], MaskPlane.NO_DATA)
        if lost.any() and not (image.data[rows][lost] == 0).all():
            # what was read holds 0 there already: a copy of the frame is seldom needed
            data = data.copy() if data is image.data else data
            data[rows][lost] = 0.0
    _require_plain_numbers(data)
    frame = image.with_(data=data.astype(np.float32, copy=False), mask=mask, variance=None)
    level = image.saturation
    if level is None or not level > 0:
        frame = frame.with_(saturation=estimate_saturation(frame.data, frame.mask))
    return frame.with_(mask=mask_saturation(frame))


def _require_plain_numbers(data: FloatArray) -> None:
    """Refuse values whose squares single precision does not hold; a constant frame is another's."""
    spread = float(np.ptp(np.percentile(data[::16, ::16], (1.0, 99.0))))
    if spread > 0 and not _VALUES[0] <= spread <= _VALUES[1]:
        msg = (
            f"the pixels spread over {spread:.1g} units, beyond what single precision can hold "
            f"the noise of: scale them to between {_VALUES[0]:g} and {_VALUES[1]:g}"
        )
        raise AlgorithmError(msg, spread=spread)


def thinned(plane: NDArray[Any]) -> NDArray[Any]:
    """One pixel of each box of a plane that nobody needs any more."""
    return plane[::_THIN, ::_THIN].copy()


def subtract_sky(image: Image, background: Background, *, in_place: bool) -> Image:
    """The frame without its sky; the saturation level moves down with it."""
    data = image.data if in_place else np.empty(image.shape, dtype=np.float32)
    for rows in row_strips(image.shape):
        np.subtract(image.data[rows], background.level[rows], out=data[rows])
        unusable = is_bad(image.mask[rows], MaskPlane.NO_DATA)
        if unusable.any():
            data[rows][unusable] = 0.0
    saturation = image.saturation
    if saturation is not None:
        saturation = saturation - background.median
    return image.with_(data=data, saturation=saturation)


def known_variance(given: FloatArray) -> FloatArray:
    """A given variance, 1 where it is none: it must be able to divide."""
    return np.where(np.isfinite(given) & (given > 0), given, np.float32(1)).astype(np.float32)


def known_noise(given: FloatArray) -> FloatArray:
    """Standard deviation of a given variance."""
    return np.sqrt(known_variance(given))
