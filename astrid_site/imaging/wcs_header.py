"""World coordinates from a header that nobody vouches for: rebuilt from an allow-list, then proved.

wcslib allocates what a header asks for and aborts on some malformed cards, so it only ever sees
the header made here: known keywords, finite numbers, bounded orders, one form of the linear part.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astrid_site.imaging.fits_cards import CardValue

if TYPE_CHECKING:
    from astropy.wcs import WCS

WcsHeader = dict[str, str | int | float]

MAX_SIP_ORDER = 9
MAX_PV_INDEX = 39
#: Pixel scale of anything that images the sky [deg/pix].
MIN_SCALE_DEG = 1e-6
MAX_SCALE_DEG = 0.2

_PROJECTIONS = frozenset(
    [
        "AZP",
        "SZP",
        "TAN",
        "STG",
        "SIN",
        "ARC",
        "ZPN",
        "ZEA",
        "AIR",
        "CYP",
        "CEA",
        "CAR",
        "MER",
        "SFL",
        "PAR",
        "MOL",
        "AIT",
        "COP",
        "COE",
        "COD",
        "COO",
        "BON",
        "PCO",
        "TSC",
        "CSC",
        "QSC",
        "HPX",
        "XPH",
        "TPV",
    ]
)
_CTYPE = re.compile(r"(RA|DEC)-+([A-Z]{3})(-SIP)?")
_DEGREES = frozenset({"", "DEG", "DEGREE", "DEGREES"})
_LOOKUP = re.compile(r"(CPDIS|CQDIS|CPERR|D2IMDIS|D2IMERR|DET2IM|DP)\d.*|D2IMEXT|AXISCORR|NPOLEXT")
_SIP_TERM = re.compile(r"(A|B|AP|BP)_(\d)_(\d)")


class WcsError(ValueError):
    """The header's world coordinates cannot be used; the message says why."""


@dataclass(frozen=True)
class RebuiltWcs:
    """The usable part of a header's world coordinates.

    Attributes
    ----------
    header : dict or None
        Cards for ``build_wcs``; None where there is no usable WCS.
    problem : str or None
        Why there is none.
    notes : tuple of str
        What was corrected or left out.
    """

    header: WcsHeader | None
    problem: str | None
    notes: tuple[str, ...] = ()


def has_celestial(values: Mapping[str, CardValue]) -> bool:
    """Whether the cards claim equatorial coordinates on their first two axes."""
    kinds = [_CTYPE.match(str(values.get(f"CTYPE{i}", "")).strip().upper()) for i in (1, 2)]
    return {kind[1] for kind in kinds if kind} == {"RA", "DEC"}


def rebuild_wcs(values: Mapping[str, CardValue]) -> RebuiltWcs:
    """Rebuild a celestial 2-D WCS header from cards of unknown quality.

    The linear part is always written as a CD matrix, whether it came as CD, PC (also the deprecated
    ``PC001001``) with CDELT, or CDELT with CROTA2; right ascension is always the first axis.

    Parameters
    ----------
    values : Mapping
        Keyword to value, of one HDU.

    Returns
    -------
    RebuiltWcs
        Never raises: what is wrong is in ``problem``.
    """
    if "CTYPE1" not in values and "CTYPE2" not in values:
        return RebuiltWcs(None, "the header has no world coordinates")
    notes: list[str] = []
    try:
        header = _rebuild(values, notes)
    except WcsError as error:
        return RebuiltWcs(None, str(error), tuple(notes))
    return RebuiltWcs(header, None, tuple(notes))


def build_wcs(header: WcsHeader) -> WCS:
    """The astropy WCS of a rebuilt header; only for headers made by ``rebuild_wcs``."""
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    # the rebuilt header needs none of astropy's repairs, and they warn
    return WCS(Header(header), fix=False)


def _rebuild(values: Mapping[str, CardValue], notes: list[str]) -> WcsHeader:
    _check_axes(values)
    projection, has_suffix, swapped = _projection(values)
    _check_frame(values)
    matrix = _linear(values)
    crval = [_number(values, f"CRVAL{i}") for i in (1, 2)]
    if swapped:
        crval.reverse()
        matrix = (matrix[2], matrix[3], matrix[0], matrix[1])
        notes.append("the declination axis came first: axes were swapped")
    _check_scale(matrix)
    if not -90.0 <= crval[1] <= 90.0 or not -360.0 <= crval[0] <= 720.0:
        raise WcsError(f"CRVAL ({crval[0]:g}, {crval[1]:g}) is not on the sky")
    sip = _sip(values, notes, suffix=has_suffix)
    pv = {} if sip else _pv(values, swapped=swapped)
    if projection == "TAN" and pv:
        projection, pv = _scamp(pv)
    suffix = "-SIP" if sip else ""
    header: WcsHeader = {
        "WCSAXES": 2,
        "CTYPE1": f"RA---{projection}{suffix}",
        "CTYPE2": f"DEC--{projection}{suffix}",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRVAL1": crval[0] % 360.0,
        "CRVAL2": crval[1],
    }
    for axis in (1, 2):
        header[f"CRPIX{axis}"] = _number(values, f"CRPIX{axis}", default=0.0, limit=1e7)
    header |= dict(zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), matrix, strict=True))
    header |= _poles(values)
    header["RADESYS"] = _radesys(values)
    if any(_LOOKUP.fullmatch(key) for key in values):
        notes.append("distortion lookup tables were left out: positions are good to a few pixels")
    return header | pv | sip


def _check_axes(values: Mapping[str, CardValue]) -> None:
    axes = values.get("WCSAXES", 2)
    if isinstance(axes, bool) or not isinstance(axes, int) or not 2 <= axes <= 4:
        raise WcsError(f"WCSAXES is {axes!r}")
    for axis in (3, 4):
        for key in (f"CD1_{axis}", f"CD2_{axis}", f"CD{axis}_1", f"CD{axis}_2"):
            if values.get(key, 0) not in (0, 0.0):
                raise WcsError(f"{key} mixes the sky with another axis")


def _projection(values: Mapping[str, CardValue]) -> tuple[str, bool, bool]:
    matches = []
    for axis in (1, 2):
        text = str(values.get(f"CTYPE{axis}", "")).strip().upper()
        match = _CTYPE.fullmatch(text)
        if match is None:
            raise WcsError(f"CTYPE{axis} is {text!r}, equatorial coordinates are needed")
        matches.append(match)
        unit = str(values.get(f"CUNIT{axis}", "")).strip().upper()
        if unit not in _DEGREES:
            raise WcsError(f"CUNIT{axis} is {unit!r}, degrees are needed")
    first, second = matches
    if {first[1], second[1]} != {"RA", "DEC"} or first[2] != second[2]:
        raise WcsError(f"CTYPE1 {first[0]!r} and CTYPE2 {second[0]!r} do not belong together")
    if first[2] not in _PROJECTIONS:
        raise WcsError(f"projection {first[2]} is not supported")
    return first[2], bool(first[3] or second[3]), first[1] == "DEC"


def _check_frame(values: Mapping[str, CardValue]) -> None:
    frame = _frame_name(values)
    equinox = values.get("EQUINOX", values.get("EPOCH", 2000.0))
    number = equinox if isinstance(equinox, int | float) and not isinstance(equinox, bool) else None
    if frame not in {"", "ICRS", "FK5"}:
        raise WcsError(f"RADESYS is {frame!r}, ICRS or FK5 is needed")
    # positions of another equinox are off by degrees, silently
    if frame != "ICRS" and number is not None and 1800 < number < 2100 and number != 2000.0:
        raise WcsError(f"EQUINOX is {number:g}, J2000 is needed")


def _frame_name(values: Mapping[str, CardValue]) -> str:
    return str(values.get("RADESYS", values.get("RADECSYS", ""))).strip().upper()


def _radesys(values: Mapping[str, CardValue]) -> str:
    return "FK5" if _frame_name(values) == "FK5" else "ICRS"


def _linear(values: Mapping[str, CardValue]) -> tuple[float, float, float, float]:
    if any(f"CD{i}_{j}" in values for i in (1, 2) for j in (1, 2)):
        cells = [_number(values, f"CD{i}_{j}", default=0.0) for i in (1, 2) for j in (1, 2)]
        return cells[0], cells[1], cells[2], cells[3]
    step = [_number(values, f"CDELT{i}") for i in (1, 2)]
    for pattern in ("PC{}_{}", "PC{:03d}{:03d}"):
        keys = [pattern.format(i, j) for i in (1, 2) for j in (1, 2)]
        if any(key in values for key in keys):
            unit = (1.0, 0.0, 0.0, 1.0)
            pc = [_number(values, k, default=d) for k, d in zip(keys, unit, strict=True)]
            return step[0] * pc[0], step[0] * pc[1], step[1] * pc[2], step[1] * pc[3]
    angle = math.radians(_number(values, "CROTA2", default=_number(values, "CROTA1", default=0.0)))
    cos, sin = math.cos(angle), math.sin(angle)
    # Calabretta & Greisen (2002), eq. 189
    return step[0] * cos, -step[1] * sin, step[0] * sin, step[1] * cos


def _check_scale(matrix: tuple[float, float, float, float]) -> None:
    area = abs(matrix[0] * matrix[3] - matrix[1] * matrix[2])
    scale = math.sqrt(area)
    longest = max(math.hypot(matrix[0], matrix[2]), math.hypot(matrix[1], matrix[3]))
    if not MIN_SCALE_DEG <= scale <= MAX_SCALE_DEG or longest > 100.0 * scale:
        raise WcsError(f"the pixel scale is {scale:g} deg")


def _poles(values: Mapping[str, CardValue]) -> WcsHeader:
    poles: WcsHeader = {}
    for key in ("LONPOLE", "LATPOLE"):
        if key in values:
            poles[key] = _number(values, key, limit=360.0)
    return poles


def _sip(values: Mapping[str, CardValue], notes: list[str], *, suffix: bool) -> WcsHeader:
    present = [name for name in ("A", "B") if f"{name}_ORDER" in values]
    if len(present) < 2:
        if suffix or present:
            notes.append("SIP distortion is announced but incomplete: it was left out")
        return {}
    if not suffix:
        notes.append("SIP coefficients without -SIP in CTYPE: they were applied")
    sip: WcsHeader = {}
    names = ["A", "B"]
    if all(f"{name}_ORDER" in values for name in ("AP", "BP")):
        names += ["AP", "BP"]
    for name in names:
        sip |= _sip_terms(values, name)
    return sip


def _sip_terms(values: Mapping[str, CardValue], name: str) -> WcsHeader:
    key = f"{name}_ORDER"
    order = values[key]
    if isinstance(order, bool) or not isinstance(order, int) or not 0 <= order <= MAX_SIP_ORDER:
        raise WcsError(f"{key} is {order!r}, 0 to {MAX_SIP_ORDER} is allowed")
    terms: WcsHeader = {key: order}
    for keyword in values:
        match = _SIP_TERM.fullmatch(keyword)
        if match and match[1] == name and int(match[2]) + int(match[3]) <= order:
            terms[keyword] = _number(values, keyword)
    return terms


def _pv(values: Mapping[str, CardValue], *, swapped: bool) -> WcsHeader:
    pv: WcsHeader = {}
    for axis in (1, 2):
        for index in range(MAX_PV_INDEX + 1):
            key = f"PV{axis}_{index}"
            if key in values:
                pv[f"PV{3 - axis if swapped else axis}_{index}"] = _number(values, key)
    beyond = re.compile(r"PV[12]_(\d+)")
    for keyword in values:
        match = beyond.fullmatch(keyword)
        if match and int(match[1]) > MAX_PV_INDEX:
            raise WcsError(f"{keyword}: distortion terms go up to {MAX_PV_INDEX}")
    return pv


def _scamp(pv: WcsHeader) -> tuple[str, WcsHeader]:
    # SCAMP writes TPV polynomials under a TAN label; plain TAN knows only PV1_0 to PV1_4
    if not any(key.startswith("PV2_") or int(key[4:]) > 4 for key in pv):
        return "TAN", {}
    return "TPV", {"PV1_1": 1.0, "PV2_1": 1.0} | pv


def _number(
    values: Mapping[str, CardValue],
    key: str,
    *,
    default: float | None = None,
    limit: float = 1e15,
) -> float:
    value = values.get(key, default)
    if value is None:
        raise WcsError(f"{key} is missing")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WcsError(f"{key} is {value!r}, a number is needed")
    if not math.isfinite(value) or abs(value) > limit:
        raise WcsError(f"{key} is {value:g}")
    return float(value)
