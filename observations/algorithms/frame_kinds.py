"""What a raw frame is for, and how it was read out: bias, dark, flat or sky; binning; sections."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

HeaderValue = str | int | float | bool

#: What a frame may be taken for; everything that does not say otherwise shows the sky.
SCIENCE, BIAS, DARK, FLAT, MASTER = "science", "bias", "dark", "flat", "master"
CALIBRATION_KINDS = (BIAS, DARK, FLAT)

_TYPE_CARDS = (
    "IMAGETYP",
    "OBSTYPE",
    "IMGTYPE",
    "FRAMETYP",  # codespell:ignore
    "OBS_TYPE",
    "OBS-TYPE",
    "FRAME",
)
_FRAME = r"( ?(frame|field|image))?s?"
_MADE = r"(master|super|combined|mean|median)"
_LIT = r"(dome|sky|twilight|lamp|internal|screen|evening|morning|[dst])"
_PATTERNS = (
    (MASTER, re.compile(rf"{_MADE} ?\w* ?(bias|zero|dark|flat){_FRAME}")),
    (BIAS, re.compile(rf"(bias|zero|offset){_FRAME}")),
    (DARK, re.compile(rf"dark( current)?{_FRAME}")),
    (FLAT, re.compile(rf"({_LIT} ?)*flat{_FRAME}")),
)
_TEMPERATURE_CARDS = ("CCD-TEMP", "CCDTEMP", "CCD_TEMP", "DETTEMP", "DET-TEMP", "DET_TEMP",
                      "CCDATEMP", "SENSTEMP", "CAMTEMP", "TEMPCCD")  # fmt: skip
_MODE_CARDS = ("READOUTM", "READMODE", "OFFSET", "BLKLEVEL")
_KELVIN_FROM = 150.0
_MAX_BINNING = 64
_COUNTS = {"", "adu", "count", "counts", "dn", "ct", "adu/pixel", "adu/pix"}
_OVERSCAN_CARDS = ("BIASSEC", "OVERSCAN", "OVRSCSEC")
_IMAGE_CARDS = ("TRIMSEC", "DATASEC")
#: Cards by which pipelines say that a step is done.
_DONE_CARDS = {
    "overscan": ("OVERSCOR", "SUBOSCAN", "L1STATOV"),
    BIAS: ("ZEROCOR", "BIASCOR", "BIASCORR", "SUBBIAS", "BIASSUB", "L1STATBI"),
    DARK: ("DARKCOR", "DARKCORR", "SUBDARK", "DARKSUB", "L1STATDA"),
    FLAT: ("FLATCOR", "FLATCORR", "FLATFLD", "FLATDIV", "L1STATFL"),
}
_NOT_DONE = {"", "0", "f", "false", "no", "none", "n/a", "omit", "omitted", "perform", "skipped"}
_REDUCED = re.compile(r"reduced|instcal|resampled|stacked|calibrated|level ?[23]", re.IGNORECASE)


@dataclass(frozen=True)
class ReadoutCards:
    """How a header says that a frame was read out.

    Attributes
    ----------
    binning : str
        "1x1" where the header is silent.
    mode : str
        Read-out mode, offset and gain setting, where the header has them.
    temperature_c : float or None
        Of the detector [C].
    overscan, image : str
        IRAF sections; empty where there are none.
    done : frozenset of str
        Steps that somebody has done already: "overscan", "bias", "dark", "flat".
    is_counts : bool
        Whether the unit is the counts of a camera.
    """

    binning: str
    mode: str
    temperature_c: float | None
    overscan: str
    image: str
    done: frozenset[str]
    is_counts: bool


def frame_kind(header: Mapping[str, HeaderValue]) -> str:
    """What a frame is for: "bias", "dark", "flat", "master" (finished elsewhere) or "science".

    Parameters
    ----------
    header : Mapping
        Cards; IMAGETYP, OBSTYPE and their kin are looked at.
    """
    for card in _TYPE_CARDS:
        value = header.get(card)
        if not isinstance(value, str):
            continue
        text = re.sub(r"[\s_.\-]+", " ", value).strip().lower()
        for kind, pattern in _PATTERNS:
            if pattern.fullmatch(text):
                return kind
    return SCIENCE


def read_readout(header: Mapping[str, HeaderValue]) -> ReadoutCards:
    """Read the cards that calibration depends on; never raises for what a header says.

    Parameters
    ----------
    header : Mapping
        Cards of a frame.
    """
    unit = header.get("BUNIT")
    return ReadoutCards(
        binning=_binning(header),
        mode=_mode(header),
        temperature_c=_temperature(header),
        overscan=_text(header, _OVERSCAN_CARDS),
        image=_text(header, _IMAGE_CARDS),
        done=_done(header),
        is_counts=not isinstance(unit, str) or unit.strip().lower() in _COUNTS,
    )


def _text(header: Mapping[str, HeaderValue], cards: tuple[str, ...]) -> str:
    for card in cards:
        value = header.get(card)
        if isinstance(value, str) and value.strip().startswith("["):
            return value.strip()[:40]
    return ""


def _binning(header: Mapping[str, HeaderValue]) -> str:
    for across, along in (("XBINNING", "YBINNING"), ("CCDXBIN", "CCDYBIN"), ("XBIN", "YBIN")):
        pair = header.get(across), header.get(along, header.get(across))
        numbers = [v for v in pair if isinstance(v, int | float) and 1 <= v <= _MAX_BINNING]
        if len(numbers) == 2:
            return f"{numbers[0]:.0f}x{numbers[1]:.0f}"
    for card in ("CCDSUM", "BINNING", "CCDBIN"):
        found = [
            int(text) for text in re.findall(r"(?<!\d)\d{1,3}(?!\d)", str(header.get(card, "")))
        ]
        if found and all(1 <= number <= _MAX_BINNING for number in found):
            return f"{found[0]}x{found[-1]}"
    return "1x1"


def _mode(header: Mapping[str, HeaderValue]) -> str:
    """What else must agree for two frames to share a bias; empty where nothing is said."""
    # beside EGAIN, which is electrons per count, GAIN is the number of a setting
    cards = (*_MODE_CARDS, "GAIN") if "EGAIN" in header else _MODE_CARDS
    words = [f"{card} {header[card]}" for card in cards if str(header.get(card, "")).strip()]
    return ", ".join(words)[:80]


def _temperature(header: Mapping[str, HeaderValue]) -> float | None:
    for card in _TEMPERATURE_CARDS:
        value = header.get(card)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        celsius = float(value) - 273.15 if value > _KELVIN_FROM else float(value)
        if math.isfinite(celsius) and -274.0 < celsius < 100.0:
            return celsius
    return None


def _done(header: Mapping[str, HeaderValue]) -> frozenset[str]:
    done = {
        step
        for step, cards in _DONE_CARDS.items()
        if any(card in header and _says_yes(header[card]) for card in cards)
    }
    status = str(header.get("CALSTAT", "")).upper()
    done |= {step for letter, step in (("B", BIAS), ("D", DARK), ("F", FLAT)) if letter in status}
    levels = (str(header.get(card, "")) for card in ("PROCTYPE", "PROCSTAT", "PRODTYPE"))
    if any(_REDUCED.search(text) for text in levels) or str(header.get("RLEVEL", "")) in {
        "11",
        "91",
    }:
        done |= {"overscan", BIAS, DARK, FLAT}
    if done & {BIAS, FLAT}:
        done.add("overscan")
    return frozenset(done)


def _says_yes(value: HeaderValue) -> bool:
    return str(value).strip().lower() not in _NOT_DONE
