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
    UNSETTLED = 1024


#: Name of each plane in FITS headers, as the Rubin pipelines name theirs where both have it, and
#: what it means. A mask's header has a card MP_<name> with the number of the bit.
FITS_PLANES: dict[MaskPlane, tuple[str, str]] = {
    MaskPlane.NO_DATA: ("NO_DATA", "never measured"),
    MaskPlane.SATURATED: ("SAT", "saturated"),
    MaskPlane.BLEED: ("BLEED", "charge of a saturated pixel"),
    MaskPlane.COSMIC_RAY: ("CR", "cosmic ray"),
    MaskPlane.BAD_PIXEL: ("BAD", "bad pixel or column"),
    MaskPlane.TRAIL: ("STREAK", "satellite trail"),
    MaskPlane.EDGE: ("EDGE", "edge of the frame"),
    MaskPlane.INTERPOLATED: ("INTRP", "interpolated"),
    MaskPlane.STAR_HALO: ("HALO", "halo of a bright star"),
    MaskPlane.USER: ("USER", "masked by the observer"),
    MaskPlane.UNSETTLED: ("VARIES", "the epochs of the reference disagree"),
}

#: Colours of the planes in order, told apart also by colour-blind eyes as far as so many can be.
_COLOURS = (
    (86, 180, 233), (230, 159, 0), (240, 228, 66), (0, 158, 115), (213, 94, 0), (180, 255, 180),
    (0, 114, 178), (148, 203, 236), (170, 68, 153), (153, 153, 51), (136, 34, 85), (68, 170, 153),
    (221, 204, 119), (51, 34, 136), (17, 119, 51), (204, 102, 119),
)  # fmt: skip

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


def plane_cards() -> dict[str, tuple[int, str]]:
    """FITS cards that name the bits of a mask: keyword -> (bit number, comment)."""
    cards = {}
    for plane, (name, meaning) in FITS_PLANES.items():
        keyword = f"MP_{name}"
        # longer keywords are HIERARCH cards, as readers of such masks expect
        prefix = "HIERARCH " if len(keyword) > 8 else ""
        cards[prefix + keyword] = (int(plane).bit_length() - 1, meaning)
    return cards


def plane_names(value: int) -> list[str]:
    """Names of the planes set in one mask value, lowest bit first."""
    return [plane.name for plane in MaskPlane if plane.name and value & plane]


def plane_colours() -> dict[MaskPlane, tuple[int, int, int]]:
    """Colour (red, green, blue) of every plane in pictures, lowest bit first."""
    return {plane: _COLOURS[i % len(_COLOURS)] for i, plane in enumerate(MaskPlane)}
