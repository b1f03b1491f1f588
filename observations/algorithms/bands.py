"""The photometric band of a frame: header first, then the file-name grammar, never a substring.

A letter search labels every Pan-STARRS skycell "g" (the g of "rings") and never finds Swift's
``uw1``; so each mission has its own vocabulary and its own grammar, and both match whole tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

HeaderValue = str | int | float | bool


class BandReading(NamedTuple):
    """A band and where it was read; without a band, ``source`` says why there is none."""

    band: str | None
    source: str


@dataclass(frozen=True)
class _Mission:
    """How one mission names its filters.

    ``keywords`` are tried in order; ``normalise`` gives the band of a header value, None if the
    value is not in the vocabulary; ``grammar`` holds the group ``band`` (and ``kind``), whose
    tokens ``tokens`` translates; ``kinds`` are the product kinds that are images of the sky;
    ``only`` is the band of a mission that has no other.
    """

    keywords: tuple[str, ...]
    normalise: Callable[[str], str | None]
    grammar: re.Pattern[str] | None = None
    tokens: Mapping[str, str] | None = None
    kinds: frozenset[str] | None = None
    only: str | None = None


_SLOAN = frozenset("ugrizy")
_JOHNSON = frozenset({"U", "B", "V", "R", "I", "J", "H", "K", "Ks", "L", "M"})
_CLEAR = frozenset({"clear", "open", "none", "luminance", "lum", "unfiltered", "no filter"})
_SLOAN_NAMES = frozenset({"sdss", "sloan", "ps1", "des", "decam", "ztf", "lsst", "skymapper"})
_JOHNSON_NAMES = frozenset({"johnson", "bessel", "bessell", "cousins", "harris", "kron", "jc"})
_DISPERSERS = re.compile(r"g\d{3}[lm]?|pr\d{3}l|gr[ig]\w*|grism.*|prism.*|ugu|ugv|[nf]g", re.I)
_HST_FILTER = re.compile(r"f\d{3}(w|m|n|lp|x|w2)", re.I)
_JWST_FILTER = re.compile(r"f\d{3,4}(w2?|m|n|c|r)", re.I)

_SWIFT = {
    "uvw1": "uvw1", "uvw2": "uvw2", "uvm2": "uvm2", "u": "uuu", "b": "ubb", "v": "uvv",
    "white": "white", "uw1": "uvw1", "uw2": "uvw2", "um2": "uvm2", "uuu": "uuu", "ubb": "ubb",
    "uvv": "uvv", "uwh": "white",
}  # fmt: skip
_GALEX = {"nd": "nuv", "fd": "fuv", "nuv": "nuv", "fuv": "fuv", "1": "nuv", "2": "fuv"}
_ZTF = {
    "zg": "zg", "zr": "zr", "zi": "zi", "g": "zg", "r": "zr", "i": "zi",
    "1": "zg", "2": "zr", "3": "zi",
}  # fmt: skip
_PTF = {
    "g": "g", "r": "R", "ha656": "ha656", "ha663": "ha663",
    "f01": "g", "f02": "R", "f11": "ha656", "f12": "ha663",
}  # fmt: skip


def parse_band(
    mission: str, header: Mapping[str, HeaderValue], file_name: str
) -> tuple[str | None, str]:
    """Band of a frame and where it was read.

    Parameters
    ----------
    mission : str
        A name of ``MISSIONS``; anything else is read by the generic vocabulary.
    header : Mapping
        Keyword to value.
    file_name : str
        Name the archive gave the file; folders are ignored.

    Returns
    -------
    tuple of (str or None, str)
        The band and ``"header FILTER"`` or ``"file name"``; or None and why: ``"refused: …"`` for
        grism exposures and companion planes, ``"unknown: …"`` otherwise.
    """
    rules = _MISSIONS.get(mission.strip().upper(), _MISSIONS[""])
    if rules.only is not None:
        return BandReading(rules.only, "the mission has one band")
    name = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    match = rules.grammar.fullmatch(_stem(name)) if rules.grammar else None
    if match is not None:
        refusal = _refuse_product(rules, match)
        if refusal:
            return BandReading(None, refusal)
    from_header = _from_header(rules, header)
    if from_header is not None and (from_header.band or from_header.source[:7] == "refused"):
        return from_header
    if match is not None:
        token = match["band"]
        return BandReading((rules.tokens or {}).get(token.lower(), token), "file name")
    return from_header or BandReading(None, "unknown: neither header nor file name says")


def mission_of(header: Mapping[str, HeaderValue]) -> str:
    """Name of the mission whose vocabulary a header speaks; empty for the generic one."""
    words = " ".join(
        str(header.get(key, "")) for key in ("TELESCOP", "INSTRUME", "ORIGIN", "SURVEY", "FPA")
    ).upper()
    for pattern, mission in _SIGNS:
        if pattern.search(words):
            return mission
    if any(key.startswith(("DES_EXT", "DESFNAME")) for key in header):
        return "DECAM"
    if any(key.startswith("SKYCELL") or key.startswith("FPA.") for key in header):
        return "PS1"
    return ""


def _from_header(rules: _Mission, header: Mapping[str, HeaderValue]) -> BandReading | None:
    """First keyword with a band; else the last reason; None where the header is silent."""
    reading: BandReading | None = None
    for keyword in rules.keywords:
        value = header.get(keyword)
        if value is None or isinstance(value, bool):
            continue
        text = str(value).strip()
        if not text or text.upper().startswith(("N/A", "UNKNOWN", "UNDEFINED")):
            continue
        if _DISPERSERS.fullmatch(text):
            return BandReading(None, f"refused: {keyword} {text!r} is a disperser")
        if text.upper() in {"RGGB", "BGGR", "GRBG", "GBRG"}:
            return BandReading(None, f"refused: {keyword} {text!r} is a colour mosaic")
        band = rules.normalise(text)
        if band == "clear" and reading is None:
            # the other wheel may hold the filter
            reading = BandReading("clear", f"header {keyword}")
        elif band is not None and band != "clear":
            return BandReading(band, f"header {keyword}")
        elif reading is None:
            reading = BandReading(None, f"unknown: {keyword} is {text[:40]!r}")
    return reading


def _refuse_product(rules: _Mission, match: re.Match[str]) -> str | None:
    if _DISPERSERS.fullmatch(match["band"]):
        return f"refused: {match['band']} is a grism exposure"
    kind = match.groupdict().get("kind")
    if rules.kinds is not None and kind is not None and kind.lower() not in rules.kinds:
        return f"refused: {kind} is a companion product, not an image of the sky"
    return None


def _stem(name: str) -> str:
    return re.sub(r"(\.(fits|fit|fts|img|fz|gz|bz2))+$", "", name, flags=re.I)


def _table(vocabulary: Mapping[str, str]) -> Callable[[str], str | None]:
    def normalise(text: str) -> str | None:
        words = re.split(r"[\s_.]+", text.lower())
        # "ZTF_g" and "ZTF g" name the survey first
        return vocabulary.get(text.lower()) or vocabulary.get(words[-1])

    return normalise


def _coded(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    def normalise(text: str) -> str | None:
        names = [part.strip() for part in re.split(r"[;,/]", text)]
        found = [name.lower() for name in names if pattern.fullmatch(name)]
        if found:
            return found[0]
        return "clear" if all(re.fullmatch(r"CLEAR\w*|OPEN", n, re.I) for n in names) else None

    return normalise


def _sloan(text: str) -> str | None:
    """Band of 'g', 'r.00000', 'i DECam SDSS c0003 7835.0 1470.0'."""
    token = re.split(r"[\s._]", text.strip())[0]
    return token.lower() if token.lower() in _SLOAN | {"w"} else None


def _generic(text: str) -> str | None:
    """Band of a filter name from anywhere; a name that is nobody's is kept as it is written."""
    plain = text.strip()
    if re.fullmatch(r"[-+\d.]+", plain):
        # a position of the filter wheel says nothing about the glass
        return None
    if plain.lower() in _CLEAR:
        return "clear"
    words = [word for word in re.split(r"[\s_.\-#,()/]+", plain) if word]
    systems = {word.lower() for word in words}
    for word in words:
        letter = word.rstrip("'p") if len(word) == 2 else word
        if systems & _SLOAN_NAMES and letter.lower() in _SLOAN:
            return letter.lower()
        if letter in _SLOAN:
            return letter
        if word in _JOHNSON or (systems & _JOHNSON_NAMES and word.upper() in _JOHNSON):
            return word if word in _JOHNSON else word.upper()
    return plain[:32]


_BAND_LETTER = r"[ugrizyUBVRIJHK]|Ks|clear"
_MISSIONS: dict[str, _Mission] = {
    "": _Mission(
        ("FILTER", "FILTER1", "FILTER2", "FILTNAM", "FILTNAM1", "BAND", "INSFILTE"),
        _generic,
        # only a whole last word: 'M81_r' says r, 'rings' says nothing
        re.compile(rf".+[_.\-](?P<band>{_BAND_LETTER})"),
    ),
    "SWIFT": _Mission(
        ("FILTER",),
        _table(_SWIFT),
        re.compile(r"sw\d+(?P<band>u[a-z0-9]{2})_(?P<kind>[a-z]+)", re.I),
        _SWIFT,
        frozenset({"sk", "rw"}),
    ),
    "GALEX": _Mission(
        ("BANDNAME", "FILTER", "BAND"),
        _table(_GALEX),
        re.compile(r".+-(?P<band>[nf][dg])-(?P<kind>[a-z]+)", re.I),
        _GALEX,
        frozenset({"int", "intbgsub"}),
    ),
    "PS1": _Mission(
        ("FPA.FILTERID", "FPA.FILTER", "FILTERID", "FILTER"),
        _sloan,
        re.compile(
            r"(rings\.v\d+\.)?skycell\.\d+\.\d+\.(wrp|stk)\.(?P<band>[grizyw])"
            r"(\.\d+_\d+|\.\d+)*(\.(?P<kind>[a-z][a-z.]*))?",
            re.I,
        ),
        None,
        frozenset(),
    ),
    "HST": _Mission(
        ("FILTER", "FILTER1", "FILTER2", "FILTNAM1", "FILTNAM2"),
        _coded(_HST_FILTER),
        re.compile(r"(hst|hla)_.+_(?P<band>[fg]\d{3}\w{1,2})_(?:.+_)?(?P<kind>[a-z0-9]+)", re.I),
        None,
        frozenset({"drz", "drc", "flt", "flc", "sci", "mos"}),
    ),
    "TESS": _Mission((), _generic, only="tess"),
    "SDSS": _Mission(
        ("FILTER",),
        _sloan,
        re.compile(
            r"(?P<kind>frame|fpc|fpm|psfield|fpobjc|fpatlas|fpbin)"
            r"-(?:\d+-)?(?P<band>[ugriz])(?:\d)?-.+",
            re.I,
        ),
        None,
        frozenset({"frame", "fpc"}),
    ),
    "JWST": _Mission(
        ("PUPIL", "FILTER"),
        _coded(_JWST_FILTER),
        re.compile(
            r"jw.+_(?:[a-z0-9]+-)?(?P<band>[fg]\d{3,4}[a-z]\w?)(?:-\w+)?_(?P<kind>[a-z0-9]+)", re.I
        ),
        None,
        frozenset({"i2d", "cal", "rate", "crf"}),
    ),
    "ZTF": _Mission(
        ("FILTER", "FILTERID"),
        _table(_ZTF),
        re.compile(
            r"ztf_\d+(?:_\d+)?_(?P<band>z[gri])_c\d+(?:_[a-z])?_q\d_(?P<kind>[a-z]+)", re.I
        ),
        _ZTF,
        frozenset({"sciimg", "refimg"}),
    ),
    "PTF": _Mission(
        ("FILTER",),
        _table(_PTF),
        re.compile(r"ptf_\w+_i_p_(?P<kind>[a-z]+)_.*_(?P<band>f\d\d)_.+", re.I),
        _PTF,
        frozenset({"scie"}),
    ),
    "DECAM": _Mission(
        ("FILTER", "BAND"),
        lambda text: "VR" if text.startswith("VR") else _sloan(text.replace("Y", "y", 1)),
        re.compile(
            r"(c4d_\d+_\d+_(?P<kind>[a-z]{3})_(?P<band>[ugrizyY]|VR)_\w+)"
        ),
        {"y": "y"},
        frozenset({"ooi", "opi", "osi"}),
    ),
}  # fmt: skip
_MISSIONS["DES"] = _MISSIONS["DECAM"]

#: Missions with a vocabulary of their own.
MISSIONS = tuple(sorted(name for name in _MISSIONS if name))

_SIGNS = tuple(
    (re.compile(pattern), mission)
    for pattern, mission in (
        (r"\bSWIFT\b|\bUVOTA?\b", "SWIFT"),
        (r"\bGALEX\b", "GALEX"),
        (r"\bPS1\b|PAN-?STARRS|\bGPC1\b", "PS1"),
        (r"\bHST\b", "HST"),
        (r"\bJWST\b|\bNIRCAM\b|\bNIRISS\b|\bMIRI\b", "JWST"),
        (r"\bTESS\b", "TESS"),
        (r"\bSDSS\b", "SDSS"),
        (r"\bZTF\b", "ZTF"),
        (r"\bPTF\b", "PTF"),
        (r"(?<![A-Z])DECAM(?![A-Z])", "DECAM"),
    )
)
