"""What the columns of exported tables are: names, units, descriptions and UCDs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["word", "text", "double", "int", "bool", "time"]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name : str
        As written into every format.
    kind : str
        ``word`` is ASCII, ``text`` any letters; ``time`` is an aware datetime.
    description : str
        For people.
    unit : str
        In the VOUnits way; empty: none.
    ucd : str
        UCD1+ word.
    width : int
        Longest text [characters], for formats of fixed width.
    source : str
        Where the value comes from, if not from an attribute of the same name.
    """

    name: str
    kind: Kind
    description: str
    unit: str = ""
    ucd: str = ""
    width: int = 0
    source: str = ""

    @property
    def read_from(self) -> str:
        """Attribute or path of the value."""
        return self.source or self.name


OBJECT_COLUMNS = (
    Column("name", "word", "Name after its place", ucd="meta.id;meta.main", width=40),
    Column("ra", "double", "Right ascension, ICRS", unit="deg", ucd="pos.eq.ra;meta.main"),
    Column("dec", "double", "Declination, ICRS", unit="deg", ucd="pos.eq.dec;meta.main"),
    Column("state", "word", "What people decided", ucd="meta.code.status", width=12),
    Column("classification", "text", "Class given by people", ucd="src.class", width=30),
    Column("n_detections", "int", "Number of its detections", ucd="meta.number"),
    Column(
        "first_detected_at", "time", "First detection, UTC", ucd="time.start;obs.exposure", width=26
    ),
    Column(
        "last_detected_at", "time", "Last detection, UTC", ucd="time.end;obs.exposure", width=26
    ),
    Column("peak_score", "double", "Largest significance, in sigma", ucd="stat.snr;stat.max"),
    Column("best_real_bogus", "double", "Model score, 0 to 1", ucd="stat.probability;stat.max"),
    Column(
        "brightest_magnitude",
        "double",
        "Brightest difference, AB",
        unit="mag",
        ucd="phot.mag;stat.max",
    ),
    Column("is_simulated", "bool", "Of a simulated sky", ucd="meta.code"),
    Column("id", "word", "Key in the REST API", ucd="meta.record", width=36),
)

#: Before the columns of a light curve, where there are several places.
PLACE_COLUMNS = (
    Column("place", "int", "Number of the place, from 1", ucd="meta.number"),
    Column("ra", "double", "Right ascension, ICRS", unit="deg", ucd="pos.eq.ra;meta.main"),
    Column("dec", "double", "Declination, ICRS", unit="deg", ucd="pos.eq.dec;meta.main"),
)

LIGHT_CURVE_COLUMNS = (
    Column("mjd", "double", "Middle of the exposure, MJD UTC", unit="d", ucd="time.epoch"),
    Column("band", "text", "Passband", ucd="instr.bandpass", width=30),
    Column(
        "survey",
        "text",
        "Whose frame it is",
        ucd="meta.id;instr",
        width=100,
        source="observation.survey.name",
    ),
    Column("kind", "word", "difference or total flux", ucd="meta.code", width=12),
    Column("flux_ujy", "double", "AB flux density", unit="uJy", ucd="phot.flux.density"),
    Column(
        "flux_error_ujy",
        "double",
        "Error of flux_ujy, 1 sigma",
        unit="uJy",
        ucd="stat.error;phot.flux.density",
    ),
    Column("flux", "double", "Flux in the frame's own unit", ucd="phot.flux"),
    Column("flux_error", "double", "Error of flux, 1 sigma", ucd="stat.error;phot.flux"),
    Column("zero_point", "double", "AB magnitude of one unit of flux", unit="mag", ucd="phot.mag"),
    Column("magnitude", "double", "AB magnitude of a flux that is one", unit="mag", ucd="phot.mag"),
    Column(
        "magnitude_error", "double", "Error of magnitude", unit="mag", ucd="stat.error;phot.mag"
    ),
    Column(
        "limiting_magnitude", "double", "5 sigma limit, AB", unit="mag", ucd="phot.mag;stat.max"
    ),
    Column("flags", "word", "What is odd, joined by spaces", ucd="meta.code", width=120),
    Column("observation", "word", "Key of the frame", ucd="meta.id", width=36),
)
