"""Any FITS header to one typed record: what is unknown is None, what is wrong has a name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from astrid_site.imaging.wcs_header import rebuild_wcs
from observations.algorithms.bands import mission_of, parse_band
from observations.algorithms.times import read_times, to_mjd

HeaderValue = str | int | float | bool

#: Keywords tried for each field, in order, unless a survey's map names its own.
DEFAULT_KEYWORDS: dict[str, tuple[str, ...]] = {
    "observation_id": ("OBSID", "OBS_ID", "OBS-ID", "OBSERVID", "EXPID", "ROOTNAME", "EXP_BN",
                       "IMAGEID", "FRAMEID", "ARCFILE", "EXPNUM"),
    "target": ("OBJECT", "TARGNAME", "TARGET", "TARGPROP", "FIELD"),
    "telescope": ("TELESCOP", "TELESCOPE", "FPA.TELESCOPE", "OBSERVAT"),
    "instrument": ("INSTRUME", "INSTRUMENT", "FPA.INSTRUMENT", "CAMERA"),
    "detector": ("DETECTOR", "DETPOS", "CCDNUM", "CCDID", "CCD_ID", "CHIPID", "DETNAME"),
    "band": (),
    # the observatory's own date first: programs that cut images out copy DATE-BEG, often wrongly
    "started": ("DATE-OBS", "DATE_OBS", "MJD-OBS", "MJD_OBS", "DATE-BEG", "MJD-BEG", "EXPSTART",
                "TDB-BEG", "JD-OBS", "OBSJD", "OBSMJD"),
    "ended": ("DATE-END", "DATE_END", "MJD-END", "EXPEND", "TDB-END"),
    "middle": ("DATE-AVG", "MJD-AVG", "MJD-MID", "TDB-MID"),
    "exposure_s": ("EXPTIME", "EXPOSURE", "EXP_TIME", "XPOSURE", "EFFEXPTM", "TEXPTIME", "ITIME"),
    "gain": ("GAIN", "EGAIN", "GAINEFF", "CCDGAIN", "GAIN_EFF"),
    "read_noise": ("RDNOISE", "READNOIS", "READNOISE", "RON", "ENOISE", "RDNOIS"),
    "saturation": ("SATURATE", "SATLEVEL", "SATURVAL", "ESATUR"),
    "airmass": ("AIRMASS", "SECZ", "AIRMASS1", "AMSTART"),
    "pixel_scale_arcsec": ("PIXSCALE", "PIXSCAL1", "SECPIX", "SECPIX1", "PSCALE"),
    "zero_point": ("MAGZP", "MAGZPT", "MAGZERO", "ZEROPT", "PHOTZP", "ZPT"),
    "unit": ("BUNIT",),
}  # fmt: skip

#: AB magnitude of one of these units.
_UNIT_ZERO_POINTS = {"nanomaggy": 22.5, "nanomaggies": 22.5, "nmgy": 22.5, "jy": 8.90}
_MAX_EXPOSURE_S = 1e7


@dataclass(frozen=True)
class ObservationMetadata:
    """What a header says about one exposure; None is unknown.

    Attributes
    ----------
    observed_at, ended_at : datetime or None
        Aware UTC; the end is the start plus the exposure where the header has no end of its own.
    mid_mjd : float or None
        Modified Julian date (UTC) of mid-exposure.
    exposure_s, gain, read_noise, saturation : float or None
        Seconds; electrons per data unit; electrons; data units.
    airmass, pixel_scale_arcsec, zero_point : float or None
        Dimensionless; arcsec; AB magnitude of one data unit.
    band_source : str
        Where the band was read, or why there is none.
    defects : tuple of str
        What the header says that cannot be, each as one phrase.
    """

    observation_id: str | None
    target: str | None
    telescope: str | None
    instrument: str | None
    detector: str | None
    band: str | None
    band_source: str
    observed_at: datetime | None
    ended_at: datetime | None
    mid_mjd: float | None
    exposure_s: float | None
    gain: float | None
    read_noise: float | None
    saturation: float | None
    airmass: float | None
    pixel_scale_arcsec: float | None
    zero_point: float | None
    unit: str | None
    is_simulated: bool
    defects: tuple[str, ...]


def read_metadata(
    header: Mapping[str, HeaderValue],
    *,
    keywords: Mapping[str, Sequence[str]] | None,
    file_name: str,
    mission: str | None = None,
    now: datetime | None = None,
) -> ObservationMetadata:
    """Read a header into one typed record.

    Parameters
    ----------
    header : Mapping
        Keyword to value, primary header merged under the image's own.
    keywords : Mapping or None
        A survey's keywords per field of ``DEFAULT_KEYWORDS``; they replace the default ones.
    file_name : str
        Name the archive gave the file; its grammar may hold the band.
    mission : str, optional
        Whose filter vocabulary to use; read from the header by default.
    now : datetime, optional
        Aware; if given, a later observation is a defect.

    Returns
    -------
    ObservationMetadata
        Never raises for what a header says; ``defects`` names it.

    Raises
    ------
    ValueError
        If ``keywords`` names a field that does not exist.
    """
    names = _merge_keywords(keywords)
    defects: list[str] = []
    numbers = _Numbers(header, names, defects)
    exposure = numbers.exposure()
    if "BSOFTEN" in header and "BOFFSET" in header:
        defects.append("pixels are asinh-scaled (BSOFTEN, BOFFSET), not linear")
    unit = _text(header, names["unit"])
    times, time_defects = read_times(header, {k: names[k] for k in ("started", "ended", "middle")})
    defects += time_defects
    started, ended, mid_mjd = _interval(times, exposure, defects, now=now)
    band, band_source = _band(header, names["band"], file_name=file_name, mission=mission)
    return ObservationMetadata(
        **{
            field: _text(header, names[field])
            for field in ("observation_id", "target", "telescope", "instrument", "detector")
        },
        band=band,
        band_source=band_source,
        observed_at=started,
        ended_at=ended,
        mid_mjd=mid_mjd,
        exposure_s=exposure,
        gain=numbers.positive("gain"),
        read_noise=numbers.read("read_noise", low=0.0, high=1e5),
        saturation=numbers.positive("saturation"),
        airmass=numbers.read("airmass", low=0.99, high=40.0),
        pixel_scale_arcsec=_pixel_scale(header) or numbers.positive("pixel_scale_arcsec"),
        zero_point=_zero_point(header, unit, numbers),
        unit=unit,
        is_simulated=header.get("SIMULATE") is True,
        defects=tuple(dict.fromkeys(defects)),
    )


class _Numbers:
    """Numeric fields of a header, range-checked; what fails becomes a defect and None."""

    def __init__(
        self,
        header: Mapping[str, HeaderValue],
        names: Mapping[str, Sequence[str]],
        defects: list[str],
    ) -> None:
        self.header = header
        self.names = names
        self.defects = defects

    def read(self, field: str, *, low: float, high: float) -> float | None:
        """First keyword of a field that holds a number in a range."""
        label = field.removesuffix("_s").removesuffix("_arcsec").replace("_", " ")
        for keyword in self.names[field]:
            value = self.header.get(keyword)
            if value is None or isinstance(value, bool) or value == "":
                continue
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            if low <= number <= high:
                return number
            self.defects.append(f"{label} is {_flaw(number)} ({keyword} = {str(value)[:40]})")
        return None

    def positive(self, field: str) -> float | None:
        """First keyword of a field that holds a positive number."""
        return self.read(field, low=math.ulp(0.0), high=1e30)

    def exposure(self) -> float | None:
        """Exposure time [s]."""
        return self.read("exposure_s", low=math.ulp(0.0), high=_MAX_EXPOSURE_S)


def _flaw(number: float) -> str:
    if math.isnan(number):
        return "not a number"
    if number < 0:
        return "negative"
    return "zero" if number == 0 else "out of range"


def _merge_keywords(
    keywords: Mapping[str, Sequence[str]] | None,
) -> dict[str, tuple[str, ...]]:
    unknown = set(keywords or {}) - set(DEFAULT_KEYWORDS)
    if unknown:
        msg = f"keywords: no such fields {sorted(unknown)}; there are {sorted(DEFAULT_KEYWORDS)}"
        raise ValueError(msg)
    own = {field: tuple(names) for field, names in (keywords or {}).items()}
    return DEFAULT_KEYWORDS | own


def _text(header: Mapping[str, HeaderValue], names: Sequence[str]) -> str | None:
    for name in names:
        value = header.get(name)
        if value is None or isinstance(value, bool):
            continue
        text = re.sub(r"\s+", " ", str(value)).strip()
        if text and text.upper() not in {"N/A", "NONE", "UNKNOWN", "UNDEFINED"}:
            return text[:200]
    return None


def _band(
    header: Mapping[str, HeaderValue],
    names: Sequence[str],
    *,
    file_name: str,
    mission: str | None,
) -> tuple[str | None, str]:
    named = next((name for name in names if name in header), None)
    if named is not None:
        # a survey that names its filter card means that card and no other
        vocabulary = mission or mission_of(header)
        band, source = parse_band(vocabulary, {"FILTER": header[named]}, file_name)
        return band, source.replace("FILTER", named)
    return parse_band(mission or mission_of(header), header, file_name)


def _interval(
    times: Mapping[str, datetime | None],
    exposure: float | None,
    defects: list[str],
    *,
    now: datetime | None,
) -> tuple[datetime | None, datetime | None, float | None]:
    """Start, end and MJD of the middle, made consistent."""
    started, ended, middle = times["started"], times["ended"], times["middle"]
    length = None if exposure is None else timedelta(seconds=exposure)
    if started and ended and ended < started:
        defects.append("the exposure ends before it starts")
        ended = None
    ended = _believed_end(started, ended, length, defects)
    if started and ended is None and length is not None:
        ended = started + length
    if started and middle and (middle < started or (ended and middle > ended)):
        defects.append("the middle of the exposure lies outside it")
        middle = None
    if started and now and started > now + timedelta(days=1):
        defects.append("the date lies in the future")
    if middle is None and started and ended:
        middle = started + (ended - started) / 2
    return started, ended, None if middle is None else to_mjd(middle)


def _believed_end(
    started: datetime | None,
    ended: datetime | None,
    length: timedelta | None,
    defects: list[str],
) -> datetime | None:
    """The end, unless it lies more than a day after the exposure can have ended."""
    if started is None or ended is None or length is None:
        return ended
    late = ended - started - length
    if late <= timedelta(days=1):
        return ended
    defects.append(
        f"the exposure ends {late.days} days after its length is over: "
        f"it starts {started:%Y-%m-%dT%H:%M:%S}, ends {ended:%Y-%m-%dT%H:%M:%S}"
    )
    return None


def _pixel_scale(header: Mapping[str, HeaderValue]) -> float | None:
    rebuilt = rebuild_wcs(header).header
    if rebuilt is None:
        return None
    cd = [float(rebuilt[key]) for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
    return 3600.0 * math.sqrt(abs(cd[0] * cd[3] - cd[1] * cd[2]))


def _zero_point(
    header: Mapping[str, HeaderValue], unit: str | None, numbers: _Numbers
) -> float | None:
    plain = (unit or "").lower()
    if plain in _UNIT_ZERO_POINTS:
        return _UNIT_ZERO_POINTS[plain]
    area = header.get("PIXAR_SR")
    if plain == "mjy/sr" and isinstance(area, float) and area > 0:
        # surface brightness: one unit over one pixel is 1e6 * area janskys
        return 8.90 - 2.5 * math.log10(1e6 * area)
    per_second = header.get("FPA.ZP")
    exposure = header.get("EXPTIME")
    if isinstance(per_second, float) and isinstance(exposure, float) and exposure > 0:
        # Pan-STARRS gives the zero point of one count per second, its pixels are counts
        return per_second + 2.5 * math.log10(exposure)
    return numbers.read("zero_point", low=1.0, high=60.0)
