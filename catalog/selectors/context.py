"""What lists held here know of a place; that no list covers it is said, never taken for nothing."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from django.db.models import QuerySet
from numpy.typing import NDArray

from astrid_site.core.models import StoredFile
from astrid_site.core.storage import read_range
from astrid_site.imaging.healpix import cone_ranges, nested_index, separation_arcsec
from catalog.algorithms.context_table import CELL_SHIFT, ROW
from catalog.algorithms.hosts import MAX_DLR, chance_coincidence, directional_radius, host_odds
from catalog.algorithms.proper_motion import julian_year, move_places
from catalog.models import AstroObject, ContextList
from observations.algorithms.times import to_mjd

Table = NDArray[np.void]
Float64 = NDArray[np.float64]

#: Galaxies so near are candidates for the host.
HOST_ARCSEC = 60.0
#: Without a radius a galaxy so near is one.
_BARE_HOST_ARCSEC = 15.0
#: The density of a list is counted within this.
_AROUND_ARCSEC = 300.0
_MAX_SHOWN = 5
_KIND_WORDS = {
    ContextList.Kind.STAR: "star",
    ContextList.Kind.GALAXY: "galaxy",
    ContextList.Kind.VARIABLE: "variable star",
    ContextList.Kind.AGN: "active galaxy",
}


@dataclass(frozen=True)
class ContextMatch:
    """One known thing near a place.

    Attributes
    ----------
    key, type : str
        Its name in the list, and what the list says it is.
    source : str
        Name of the list.
    separation_arcsec : float
        At the epoch that was asked for.
    magnitude, redshift : float or None
        None where the list has none.
    chance : float or None
        That one lies so near by chance: of the list's density around, of a galaxy's magnitude.
    moved_arcsec : float
        How far its proper motion has carried it since the epoch of the list.
    dlr : float or None
        Of a galaxy: separation in units of its radius towards the place.
    probability : float or None
        Of a galaxy: to be the host.
    """

    key: str
    type: str
    source: str
    separation_arcsec: float
    magnitude: float | None
    redshift: float | None
    chance: float | None
    moved_arcsec: float
    dlr: float | None = None
    probability: float | None = None


@dataclass(frozen=True)
class KindContext:
    """What the lists of one kind say.

    Attributes
    ----------
    kind, word : str
        Of the lists; one thing of that kind in words.
    covering : tuple of str
        Names of the lists that cover the place.
    matches : tuple of ContextMatch
        Nearest, or of galaxies most probable, first.
    none : float or None
        Of galaxies: probability that the host is none of those listed.
    """

    kind: str
    word: str
    covering: tuple[str, ...]
    matches: tuple[ContextMatch, ...]
    none: float | None = None

    @property
    def sentence(self) -> str:
        """What there is where nothing matches; absence of a list is not absence of a thing."""
        if self.matches:
            return ""
        if not self.covering:
            return f"No list of {ContextList.Kind(self.kind).label} held here covers this place."
        return f"No {self.word} near it in {', '.join(self.covering)}."


def context_of(ra: float, dec: float, *, mjd: float | None) -> list[KindContext]:
    """What every list knows of a place, at a time; without one, at the epochs of the lists."""
    rows = list(ContextList.objects.filter(is_active=True).order_by("name", "pk"))
    return [_kind_context(kind, rows, (ra, dec), mjd) for kind in ContextList.Kind]


def context_of_object(astro_object: AstroObject) -> list[KindContext]:
    """What every list knows of an object's place when it was seen first."""
    seen = astro_object.first_detected_at
    mjd = None if seen is None else to_mjd(seen)
    return context_of(astro_object.ra, astro_object.dec, mjd=mjd)


def _kind_context(
    kind: ContextList.Kind,
    lists: list[ContextList],
    place: tuple[float, float],
    mjd: float | None,
) -> KindContext:
    covering = [row for row in lists if row.kind == kind and covers(row, *place)]
    near = [_near(row, place, mjd) for row in covering]
    names = tuple(row.name for row in covering)
    word = _KIND_WORDS[kind]
    if kind == ContextList.Kind.GALAXY:
        found = [match for part in near for match in part.hosts()]
        odds = host_odds(np.array([m.chance if m.chance is not None else np.nan for m in found]))
        matches = [
            _with_probability(match, float(p))
            for match, p in zip(found, odds.probability, strict=True)
        ]
        matches.sort(key=lambda m: (-(m.probability or 0.0), m.separation_arcsec))
        none = odds.none if matches else None
        return KindContext(kind.value, word, names, tuple(matches[:_MAX_SHOWN]), none)
    found = sorted((m for part in near for m in part.matches()), key=lambda m: m.separation_arcsec)
    return KindContext(kind.value, word, names, tuple(found[:_MAX_SHOWN]))


def _with_probability(match: ContextMatch, probability: float) -> ContextMatch:
    return replace(match, probability=None if math.isnan(probability) else probability)


def covers(row: ContextList, ra: float, dec: float) -> bool:
    """Whether a list covers a place: it has rows in the same cell of 55 arcmin, or says so."""
    cell = nested_index(ra, dec) >> CELL_SHIFT
    at = bisect_left(row.cells, [cell, 0])
    return row.is_whole_sky or (at < len(row.cells) and row.cells[at][0] == cell)


@dataclass(frozen=True)
class _Near:
    """Rows of one list around a place, where they are at the time asked for."""

    source: ContextList
    rows: Table
    apart: Float64
    bearing: Float64
    moved: Float64

    def matches(self) -> list[ContextMatch]:
        """Rows that are the thing itself, by their distance."""
        density = float((self.apart <= _AROUND_ARCSEC).sum()) / (np.pi * _AROUND_ARCSEC**2)
        chance = -np.expm1(-np.pi * self.apart**2 * density)
        chosen = np.flatnonzero(self.apart <= self.source.match_arcsec)
        return [self._match(int(i), chance=float(chance[i])) for i in chosen]

    def hosts(self) -> list[ContextMatch]:
        """Galaxies whose light may reach the place."""
        rows = self.rows
        radius = rows["radius_arcsec"].astype(float)
        dlr = directional_radius(
            self.apart,
            self.bearing,
            radius_arcsec=radius,
            axis_ratio=rows["axis_ratio"].astype(float),
            angle_deg=rows["angle_deg"].astype(float),
        )
        reach = np.where(np.isfinite(dlr), dlr <= MAX_DLR, self.apart <= _BARE_HOST_ARCSEC)
        chance = chance_coincidence(
            self.apart, rows["magnitude"].astype(float), radius_arcsec=radius
        )
        chosen = np.flatnonzero(reach & (self.apart <= HOST_ARCSEC))
        return [self._match(int(i), chance=_known(chance[i]), dlr=_known(dlr[i])) for i in chosen]

    def _match(self, i: int, *, chance: float | None, dlr: float | None = None) -> ContextMatch:
        row = self.rows[i]
        return ContextMatch(
            key=row["key"].decode(),
            type=row["type"].decode(),
            source=self.source.name,
            separation_arcsec=float(self.apart[i]),
            magnitude=_known(row["magnitude"]),
            redshift=_known(row["redshift"]),
            chance=chance,
            moved_arcsec=float(self.moved[i]),
            dlr=dlr,
        )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _near(source: ContextList, place: tuple[float, float], mjd: float | None) -> _Near:
    """Rows of a list around a place, moved to the time asked for."""
    years = 0.0 if mjd is None else julian_year(mjd) - source.epoch
    reach = max(_AROUND_ARCSEC, HOST_ARCSEC) + abs(years) * source.fastest_mas_yr / 1000.0
    rows = _rows_in(source, *place, radius_arcsec=reach)
    ra, dec = move_places(
        rows["ra"], rows["dec"], pm_ra=rows["pm_ra"], pm_dec=rows["pm_dec"], years=years
    )
    lon = np.radians(place[0] - ra)
    lat, here = np.radians(dec), np.radians(place[1])
    east = np.sin(lon) * np.cos(here)
    north = np.cos(lat) * np.sin(here) - np.sin(lat) * np.cos(here) * np.cos(lon)
    return _Near(
        source,
        rows,
        apart=separation_arcsec(place[0], place[1], ra, dec),
        bearing=np.degrees(np.arctan2(east, north)),
        moved=separation_arcsec(rows["ra"], rows["dec"], ra, dec),
    )


def _rows_in(source: ContextList, ra: float, dec: float, *, radius_arcsec: float) -> Table:
    """Rows of the cells that a cone touches; nothing else of the file is read."""
    wanted: set[int] = set()
    for low, high in cone_ranges(ra, dec, radius_arcsec):
        wanted.update(range(low >> CELL_SHIFT, ((high - 1) >> CELL_SHIFT) + 1))
    parts = []
    for cell in sorted(wanted):
        at = bisect_left(source.cells, [cell, 0])
        if at < len(source.cells) and source.cells[at][0] == cell:
            first = source.cells[at][1]
            last = source.cells[at + 1][1] if at + 1 < len(source.cells) else source.n_rows
            parts.append(_read_rows(source.file, first, last))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=ROW)


def _read_rows(stored: StoredFile, first: int, last: int) -> Table:
    start = _data_start(stored.sha256, stored.name) + first * ROW.itemsize
    found = read_range(stored, start=start, length=(last - first) * ROW.itemsize)
    return np.frombuffer(found, dtype=ROW)


@lru_cache(maxsize=64)
def _data_start(sha256: str, name: str) -> int:
    """First byte of the rows of an npy file of version 1."""
    head = read_range(StoredFile(sha256=sha256, name=name), start=0, length=10)
    return 10 + int.from_bytes(head[8:10], "little")


def active_lists() -> QuerySet[ContextList]:
    """Lists that are asked, by kind and name."""
    return ContextList.objects.filter(is_active=True).order_by("kind", "name", "pk")


def context_words(contexts: list[KindContext]) -> str:
    """All kinds in one line: what matches, and of which kinds no list covers the place."""
    told = [
        f"{said.word} {said.matches[0].separation_arcsec:.1f}\u2033 away"
        for said in contexts
        if said.matches
    ]
    bare = [said for said in contexts if not said.covering]
    if len(bare) == len(contexts):
        return "no list held here covers this place"
    empty = [said.word for said in contexts if said.covering and not said.matches]
    told += [f"no {' or '.join(empty)} listed"] if empty else []
    labels = [str(ContextList.Kind(said.kind).label) for said in bare]
    return "; ".join(told + ([f"not covered by lists of {', '.join(labels)}"] if bare else []))
