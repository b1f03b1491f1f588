"""Named bit planes of a pixel mask."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

MaskArray = NDArray[np.uint16]
BoolArray = NDArray[np.bool_]


class MaskPlane(IntFlag):
    """Why a pixel must not be trusted; planes combine with ``|``."""

    NO_DATA = 1
    SATURATED = 2
    BLEED = 4
    COSMIC_RAY = 8
    BAD_PIXEL = 16
    TRAIL = 32
    EDGE = 64
    INTERPOLATED = 128
    STAR_HALO = 256
    USER = 512


#: Planes whose pixels carry no usable flux at all.
UNUSABLE = (
    MaskPlane.NO_DATA
    | MaskPlane.SATURATED
    | MaskPlane.BLEED
    | MaskPlane.COSMIC_RAY
    | MaskPlane.BAD_PIXEL
    | MaskPlane.TRAIL
    | MaskPlane.USER
)


def is_bad(mask: MaskArray, planes: MaskPlane = UNUSABLE) -> BoolArray:
    """Boolean map of the pixels in which any of ``planes`` is set."""
    return np.asarray((mask & np.uint16(planes)) != 0)


def plane_names(value: int) -> list[str]:
    """Names of the planes set in one mask value, lowest bit first."""
    return [plane.name for plane in MaskPlane if plane.name and value & plane]
