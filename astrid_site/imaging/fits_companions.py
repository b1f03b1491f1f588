"""The planes that lie beside an image in one file: noise and mask by what they are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.fits_gate import HduLayout
from astrid_site.imaging.masks import BoolArray, MaskPlane

#: Extensions that accompany an image: never taken for one unless asked for by name.
_COMPANIONS = re.compile(
    r"WGT|WEIGHT|WHT|WT|MA?SK|DQ|ERR(OR)?|VAR(IANCE|_POISSON|_RNOISE|_FLAT)?|RMS|NOISE|SIGMA"
    r"|STDDEV|UNCERT|EXP|CTX|CON|FLA?GS?|BPM|IVAR|INVVAR|PSF|BKG|SKY|SAMP|TIME|COVERAGE|AREA"
    r"|D2IMARR|WCSDVARR|NPOLFILE"
)
_NOISE = frozenset({"ERR", "ERROR", "RMS", "NOISE", "SIGMA", "STDDEV", "UNCERT"})
_VARIANCE = frozenset({"VAR", "VARIANCE"})
_INVERSE = frozenset({"IVAR", "INVVAR"})
_MASK = frozenset({"DQ", "MASK", "MSK", "FLAGS", "FLAG", "FLG", "BPM"})
#: Planes of a mask that names its bits (cards MP_<name>, as Rubin's and ours do) without any use.
_BAD_PLANES = frozenset(
    {"BAD", "SAT", "CR", "NO_DATA", "BLEED", "STREAK", "USER", "VIGNETTED", "CROSSTALK"}
    | {"SUSPECT", "UNMASKEDNAN"}
)
#: JWST's DO_NOT_USE; its other bits tell of pixels that were mended as well.
_JWST_BAD = 1
#: Above this, float32 no longer holds every bit of a whole number.
_LAST_WHOLE = 2**24
#: A mask that leaves less of a frame means something else by its bits.
_MOSTLY_MASKED = 0.7


@dataclass(frozen=True)
class Companion:
    """A plane beside the image that was taken, of its shape and its version.

    Attributes
    ----------
    role : str
        ``"noise"`` (1 sigma), ``"variance"``, ``"inverse variance"`` or ``"mask"``.
    hdu, name : int, str
        Where it is.
    bad_bits : int or None
        Bits of a mask that make a pixel unusable; None where whatever is not zero does.
    """

    role: str
    hdu: int
    name: str
    bad_bits: int | None = None

    def in_words(self) -> str:
        """What was used, for the notes."""
        what = "mask" if self.role == "mask" else "noise"
        return f"its {what} is HDU {self.hdu} {self.name} of the same file"

    def refused(self) -> str:
        """What is to be said of a plane that is not used."""
        why = "would mask most of the frame" if self.role == "mask" else "is positive nowhere"
        return f"HDU {self.hdu} {self.name} of the same file {why} and is not used"

    def usable_mask(self, plane: NDArray[np.float32]) -> NDArray[np.uint16] | None:
        """A mask as planes; None where it would leave next to nothing."""
        bad = self.is_bad(plane)
        if bad.mean() > _MOSTLY_MASKED:
            return None
        return np.where(bad, np.uint16(MaskPlane.USER), np.uint16(0)).astype(np.uint16)

    def usable_variance(self, plane: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Variance of every pixel; None where no pixel has a positive one."""
        variance = self.variance(plane)
        return variance if variance.any() else None

    def variance(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Variance of every pixel; 0 on those without a positive one."""
        values = plane.astype(np.float64)
        usable = np.isfinite(values) & (values > 0)
        values = np.where(usable, values, 1.0)
        if self.role == "noise":
            values = values**2
        elif self.role == "inverse variance":
            values = 1.0 / values
        return np.where(usable, values, 0.0).astype(np.float32)

    def is_bad(self, plane: NDArray[np.float32]) -> BoolArray:
        """Whether a mask rejects each pixel."""
        bad = ~np.isfinite(plane)
        if self.bad_bits is None:
            return np.asarray(bad | (plane != 0))
        beyond = np.abs(np.where(bad, 0.0, plane)) >= _LAST_WHOLE
        whole = np.where(bad | beyond, 0.0, plane).astype(np.int64)
        return np.asarray(bad | beyond | ((whole & self.bad_bits) != 0))


def is_companion(name: str) -> bool:
    """Whether an extension of that name accompanies an image rather than being one."""
    return _COMPANIONS.fullmatch(_kind(name)) is not None


def companions_of(chosen: HduLayout, hdus: Sequence[HduLayout]) -> tuple[Companion, ...]:
    """At most one noise and one mask beside the image that was taken."""
    own = _owner(chosen.name)
    found: dict[bool, Companion] = {}
    for hdu in hdus:
        role = _role(_kind(hdu.name))
        is_its = hdu.version == chosen.version and _owner(hdu.name) == own
        is_its &= hdu.index != chosen.index and hdu.shape[-2:] == chosen.shape[-2:]
        if role and is_its:
            bits = _bad_bits(hdu, chosen, hdus[0]) if role == "mask" else None
            found.setdefault(role == "mask", Companion(role, hdu.index, hdu.name, bits))
    return tuple(found.values())


def _role(kind: str) -> str:
    named = {"noise": _NOISE, "variance": _VARIANCE, "inverse variance": _INVERSE, "mask": _MASK}
    return next((role for role, names in named.items() if kind in names), "")


def _kind(name: str) -> str:
    """What a plane is; mosaics write the detector before it ("CCD1.SCI", "CCD1.RMS")."""
    return name.upper().rpartition(".")[2]


def _owner(name: str) -> str:
    return name.upper().rpartition(".")[0]


def _bad_bits(hdu: HduLayout, chosen: HduLayout, primary: HduLayout) -> int | None:
    """Which bits of a mask to reject, where its file says what they mean."""
    cards = {key.removeprefix("HIERARCH "): bit for key, bit in hdu.values.items()}
    named = {key[3:]: bit for key, bit in cards.items() if key.startswith("MP_")}
    if named:
        bits = [bit for name, bit in named.items() if name in _BAD_PLANES and isinstance(bit, int)]
        return sum(1 << bit for bit in set(bits) if 0 <= bit < 32)
    telescope = chosen.values.get("TELESCOP", primary.values.get("TELESCOP"))
    return _JWST_BAD if telescope == "JWST" else None
