"""Light beyond the edge of one frame, taken from the other: a kernel near the edge needs it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import BoolArray, MaskArray, MaskPlane, is_bad
from preprocessing.algorithms.smoothing import STRIP

FloatArray = NDArray[np.float32]

#: Light of less significance does no harm [sigma].
_LEAST_SIGMA = 5.0
#: Pixels of this significance tell how bright one frame is beside the other.
_BRIGHT_SIGMA = 20.0
_LEAST_PIXELS = 20
#: Rows between those that are looked at for it.
_STEP = 4
#: The two PSFs differ: the light may be wrong by this share of itself.
_ERROR = 0.3


def fill_missing_light(
    frame: tuple[FloatArray, FloatArray],
    other: tuple[FloatArray, FloatArray],
    *,
    mask: MaskArray,
    other_bad: BoolArray,
    bad: BoolArray,
) -> None:
    """Fill pixels that one frame never had with the light that the other shows, in place.

    Parameters
    ----------
    frame, other : tuple of NDArray[float32], shape (ny, nx)
        Data and variance of the frame to be filled, and of the one to learn from.
    mask : NDArray[uint16]
        Of ``frame``; what counts is NO_DATA.
    other_bad, bad : NDArray[bool]
        Unusable pixels of either frame.

    Notes
    -----
    Interpolated over an edge, the sky goes on as it is there. A star a few pixels beyond it has
    wings that a kernel would have carried across: unfilled, one of S/N 10^4 six pixels beyond the
    edge of a reference left a candidate of 6.5 sigma. The filled pixels have an error of 30 %, by
    which those that owe too much to them are given up.
    """
    strips = [slice(first, first + STRIP) for first in range(0, len(mask), STRIP)]
    strips = [rows for rows in strips if is_bad(mask[rows], MaskPlane.NO_DATA).any()]
    if not strips:
        return
    level = _typical_sigma(other[1], other_bad)
    places = []
    for rows in strips:
        is_bright = other[0][rows] > np.float32(_LEAST_SIGMA) * level
        is_bright &= is_bad(mask[rows], MaskPlane.NO_DATA) & ~other_bad[rows]
        places.append(np.flatnonzero(is_bright) + rows.start * mask.shape[1])
    at = np.concatenate(places)
    if at.size == 0:
        return
    ratio = _brightness_ratio(
        frame[0], other[0], bad | other_bad, least=np.float32(_BRIGHT_SIGMA) * level
    )
    if ratio is None:
        return
    light = ratio * other[0].ravel()[at]
    np.put(frame[0], at, light)
    np.put(frame[1], at, _typical_sigma(frame[1], bad) ** 2 + np.square(np.float32(_ERROR) * light))


def _typical_sigma(variance: FloatArray, bad: BoolArray) -> np.float32:
    """Noise of a typical good pixel; 0 without any."""
    sample = variance[::_STEP, ::_STEP][~bad[::_STEP, ::_STEP]]
    return np.float32(np.sqrt(np.median(sample))) if sample.size else np.float32(0)


def _brightness_ratio(
    data: FloatArray, other: FloatArray, bad: BoolArray, *, least: np.float32
) -> np.float32 | None:
    """Light of one frame in units of the other's, where both show it; None without enough."""
    rows = slice(None, None, _STEP)
    usable = (other[rows] > least) & ~bad[rows]
    if np.count_nonzero(usable) < _LEAST_PIXELS:
        return None
    return np.float32(np.median(data[rows][usable] / other[rows][usable]))
