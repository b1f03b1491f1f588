"""What objects are wanted: one set of conditions for the page, the REST API and every export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from catalog.algorithms.sky_regions import Box, Cone, Region, read_moc, read_polygon

DEFAULT_RADIUS_ARCSEC = 60.0
_CONE = ("ra", "dec")
_BOX = ("ra_min", "ra_max", "dec_min", "dec_max")
_PAIRS = (
    ("since", "until", "ends before it begins"),
    ("min_magnitude", "max_magnitude", "the bright end is fainter than the faint end"),
    ("min_score", "max_score", "the lower end is above the upper end"),
)


class SearchError(ValueError):
    """Conditions that contradict each other; ``field`` names the one to look at."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class ObjectSearch:
    """Conditions that all hold at once; what is None or empty is not asked for.

    Attributes
    ----------
    q : str
        Words in the name, an alias or the classification.
    state, classification, survey : str
        Exactly these; ``survey`` is the name or slug of one that detected it.
    ra, dec, radius_arcsec : float
        A cone [ICRS degrees, arcsec].
    ra_min, ra_max, dec_min, dec_max : float
        A box [degrees], going east from ``ra_min``.
    polygon, moc : str
        As ``read_polygon`` and ``read_moc`` take them. At most one region is asked for.
    since, until : datetime
        Detected at some time between; UTC.
    min_magnitude, max_magnitude : float
        Of the brightest difference [AB].
    min_score, max_score : float
        Of the model's best score.
    """

    q: str = ""
    state: str = ""
    classification: str = ""
    survey: str = ""
    ra: float | None = None
    dec: float | None = None
    radius_arcsec: float | None = None
    ra_min: float | None = None
    ra_max: float | None = None
    dec_min: float | None = None
    dec_max: float | None = None
    polygon: str = ""
    moc: str = ""
    since: datetime | None = None
    until: datetime | None = None
    min_magnitude: float | None = None
    max_magnitude: float | None = None
    min_score: float | None = None
    max_score: float | None = None

    @property
    def cone(self) -> Cone | None:
        """The cone, where one is asked for."""
        if self.ra is None or self.dec is None:
            return None
        return Cone(self.ra % 360.0, self.dec, self.radius_arcsec or DEFAULT_RADIUS_ARCSEC)

    @property
    def region(self) -> Region | None:
        """The part of the sky, where one is asked for."""
        if self.cone is not None:
            return self.cone
        if self.polygon:
            return read_polygon(self.polygon)
        if self.moc:
            return read_moc(self.moc)
        sides = (self.ra_min, self.ra_max, self.dec_min, self.dec_max)
        if all(side is None for side in sides):
            return None
        west, east, south, north = sides
        return Box(
            0.0 if west is None else west,
            360.0 if east is None else east,
            -90.0 if south is None else south,
            90.0 if north is None else north,
        )

    def as_parameters(self) -> dict[str, str]:
        """What is asked for as parameters of a query string."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _text(value) for name, value in told.items() if value not in (None, "")}


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


#: Every name a search knows.
SEARCH_FIELDS = tuple(field.name for field in fields(ObjectSearch))


def object_search(values: Mapping[str, Any]) -> ObjectSearch:
    """A search from values of the right types; names that a search does not know are left out.

    Raises
    ------
    SearchError
        If the conditions contradict each other.
    """
    told = {k: v for k, v in values.items() if k in SEARCH_FIELDS and v not in (None, "")}
    _check_region(told)
    for low, high, trouble in _PAIRS:
        if low in told and high in told and told[low] > told[high]:
            raise SearchError(high, f"{high}: {trouble}")
    search = ObjectSearch(**told)
    try:
        _ = search.region
    except ValueError as error:
        field = str(error).split(":", maxsplit=1)[0]
        raise SearchError(field if field in SEARCH_FIELDS else "polygon", str(error)) from error
    return search


def _check_region(told: Mapping[str, Any]) -> None:
    """One region at most, and all that it needs."""
    has_centre = [name for name in _CONE if name in told]
    if len(has_centre) == 1:
        missing = "dec" if "ra" in told else "ra"
        raise SearchError(missing, "A position needs both RA and Dec.")
    if "radius_arcsec" in told and not has_centre:
        raise SearchError("radius_arcsec", "A radius needs a position: RA and Dec.")
    kinds = {
        "ra": bool(has_centre),
        "ra_min": any(name in told for name in _BOX),
        "polygon": "polygon" in told,
        "moc": "moc" in told,
    }
    asked = [name for name, is_asked in kinds.items() if is_asked]
    if len(asked) > 1:
        raise SearchError(asked[1], "Ask for one region: a cone, a box, a polygon or a MOC.")
