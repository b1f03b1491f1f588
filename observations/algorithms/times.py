"""Times in headers: every spelling in use, to aware UTC, never silently wrong."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from astropy.time import Time
from erfa import ErfaWarning

HeaderValue = str | int | float | bool

#: Nobody photographed the sky before, and no header of ours lies this far ahead.
FIRST_YEAR = 1840
LAST_YEAR = 2100
_SCALES = {
    "UTC": "utc", "UT": "utc", "GMT": "utc", "UT1": "utc", "TAI": "tai", "IAT": "tai", "TT": "tt",
    "TDT": "tt", "ET": "tt", "TDB": "tdb", "TCB": "tcb", "TCG": "tcg", "GPS": "gps",
}  # fmt: skip
_GPS_TO_TAI_S = 19
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_ISO = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ](.+))?")
_OLD = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{2,3})")
_CLOCK = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d*)?)")
_TIME_KEYS = ("TIME-OBS", "TIME_OBS", "UTC-OBS", "UT-OBS", "UTSTART", "UTC-BEG", "UT", "UTC")


@dataclass
class _Reader:
    header: Mapping[str, HeaderValue]
    scale: str
    defects: list[str] = field(default_factory=list)

    def read(self, keyword: str) -> datetime | None:
        """Time under a keyword, None where absent or unreadable (then a defect says so)."""
        value = self.header.get(keyword)
        if value is None or isinstance(value, bool) or (isinstance(value, str) and not value):
            return None
        number = _as_number(value)
        scale = "tdb" if keyword.startswith("TDB") else self.scale
        if number is not None:
            return self._day_number(keyword, number, scale)
        return self._calendar(keyword, str(value).strip(), scale)

    def _day_number(self, keyword: str, number: float, scale: str) -> datetime | None:
        days = number - 2400000.5 if number > 2.3e6 else number
        if not -7000 < days < 88500:
            if number != 0:
                self.defects.append(f"{keyword} {number:g} is no date")
            return None
        return self._to_utc(_MJD_EPOCH + timedelta(days=days), scale)

    def _calendar(self, keyword: str, text: str, scale: str) -> datetime | None:
        day, clock = self._day(keyword, text)
        if day is None:
            return None
        clock = clock or self._clock_card(scale)
        if clock is None:
            self.defects.append(f"{keyword} has no time of day: the start is uncertain by a day")
            return self._to_utc(day, scale)
        seconds = self._seconds(keyword, clock)
        return None if seconds is None else self._to_utc(day + timedelta(seconds=seconds), scale)

    def _day(self, keyword: str, text: str) -> tuple[datetime | None, str | None]:
        iso, old = _ISO.fullmatch(text), _OLD.fullmatch(text)
        clock = None
        if iso:
            year, month, day, clock = int(iso[1]), int(iso[2]), int(iso[3]), iso[4]
        elif old:
            # the FITS convention before 1997: two digits are a year of the 20th century; programs
            # that were not ready for 2000 wrote three
            day, month, year = int(old[1]), int(old[2]), 1900 + int(old[3])
            if len(old[3]) == 3:
                self.defects.append(f"{keyword} {text!r} counts years from 1900: read as {year}")
        else:
            self.defects.append(f"{keyword} {text[:40]!r} is no date")
            return None, None
        try:
            date = datetime(year, month, day, tzinfo=UTC)
        except ValueError:
            date = None
        if date is None or not FIRST_YEAR <= year <= LAST_YEAR:
            self.defects.append(f"{keyword} {text[:40]!r} is impossible")
            return None, None
        return date, clock

    def _clock_card(self, scale: str) -> str | None:
        keys = ("TAIHMS", *_TIME_KEYS) if scale == "tai" else _TIME_KEYS
        for key in keys:
            value = self.header.get(key)
            if isinstance(value, str) and _CLOCK.match(value.strip()):
                return value.strip()
        return None

    def _seconds(self, keyword: str, clock: str) -> float | None:
        match = _CLOCK.fullmatch(re.sub(r"(Z|\+00:?00)$", "", clock.strip()))
        if match is None or int(match[1]) > 23 or int(match[2]) > 59 or float(match[3]) >= 61:
            self.defects.append(f"{keyword} {clock[:40]!r} is no time of day")
            return None
        if float(match[3]) >= 60:
            self.defects.append(f"{keyword} {clock[:40]!r} lies in a leap second")
        return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])

    def _to_utc(self, moment: datetime, scale: str) -> datetime:
        return to_utc(moment, scale)


def to_utc(moment: datetime, scale: str) -> datetime:
    """A moment whose clock shows another time scale (astropy's name, or "gps"), in UTC."""
    if scale == "utc":
        return moment
    if scale == "gps":
        moment, scale = moment + timedelta(seconds=_GPS_TO_TAI_S), "tai"
    with warnings.catch_warnings():
        # leap seconds beyond the table: right to the second until one is announced
        warnings.simplefilter("ignore", ErfaWarning)
        time = Time(moment.replace(tzinfo=None), scale=scale, format="datetime").utc
        # through the day number: a leap second has no datetime of its own
        return (
            _MJD_EPOCH
            + timedelta(days=float(time.jd1 - 2400000.5))
            + timedelta(days=float(time.jd2))
        )


def read_times(
    header: Mapping[str, HeaderValue], keywords: Mapping[str, Sequence[str]]
) -> tuple[dict[str, datetime | None], list[str]]:
    """Start, end and middle of an exposure in UTC.

    Parameters
    ----------
    header : Mapping
        Keyword to value; TIMESYS is honoured.
    keywords : Mapping
        Keywords to try for each of ``started``, ``ended`` and ``middle``, in order.

    Returns
    -------
    tuple of (dict, list of str)
        A time (or None) under each of those names, and what was odd.
    """
    system = str(header.get("TIMESYS", "UTC")).strip().upper() or "UTC"
    reader = _Reader(header, _SCALES.get(re.split(r"[(\s]", system)[0], ""))
    if not reader.scale:
        reader.defects.append(f"TIMESYS {system!r} is unknown: times were read as UTC")
        reader.scale = "utc"
    times: dict[str, datetime | None] = {}
    for name, candidates in keywords.items():
        times[name] = _first_time(reader, candidates)
    reader.defects += _contradictions(header, reader.scale, keywords.get("started", ()))
    return times, list(dict.fromkeys(reader.defects))


def _first_time(reader: _Reader, keywords: Sequence[str]) -> datetime | None:
    """The first keyword that holds a time; a bare date gives way to a time on that very day."""
    day: datetime | None = None
    doubt: list[str] = []
    for key in keywords:
        n_known = len(reader.defects)
        time = reader.read(key)
        is_day_only = any("no time of day:" in text for text in reader.defects[n_known:])
        if time is None or (day and not timedelta(0) <= time - day < timedelta(days=1)):
            continue
        if not is_day_only:
            reader.defects = [text for text in reader.defects if text not in doubt]
            return time
        if day is None:
            day, doubt = time, reader.defects[n_known:]
    return day


def to_mjd(moment: datetime) -> float:
    """Modified Julian date (UTC) of an aware time."""
    return (moment - _MJD_EPOCH) / timedelta(days=1)


def _contradictions(
    header: Mapping[str, HeaderValue], scale: str, keywords: Sequence[str]
) -> list[str]:
    """Pairs of start keywords that disagree by more than a minute and the exposure."""
    quiet = _Reader(header, scale)
    known = [(key, time) for key in keywords if (time := quiet.read(key)) is not None]
    exposure = _as_number(header.get("EXPTIME", 0.0)) or 0.0
    tolerance = max(60.0, abs(exposure))
    found = []
    for key, time in known[1:]:
        gap = abs((time - known[0][1]).total_seconds())
        day_only = "T" not in str(header.get(key, "T")) or "T" not in str(header.get(known[0][0]))
        if gap > (86400.0 + tolerance if day_only and quiet.defects else tolerance):
            found.append(_differ(known[0], (key, time), gap))
    return found


def _differ(used: tuple[str, datetime], other: tuple[str, datetime], gap: float) -> str:
    text = f"{used[0]} and {other[0]} differ by {gap:.0f} s"
    if gap <= 86400.0:
        return text
    said = [f"{time:%Y-%m-%dT%H:%M:%S}" for _, time in (used, other)]
    return f"{text}: {used[0]} says {said[0]} UTC and was used, {other[0]} says {said[1]} UTC"


def _as_number(value: HeaderValue | None) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < 1e300 else None
