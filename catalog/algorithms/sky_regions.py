"""Regions of the sky that objects are searched in: cone, box, polygon, and MOC.

A region is asked two things: ranges of HEALPix cells that cover it, for an index to narrow the
search, and which positions lie in it, exactly, everywhere on the sphere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from astropy_healpix import healpy as cells
from numpy.typing import ArrayLike, NDArray

from astrid_site.imaging.healpix import (
    MAX_RADIUS_ARCSEC,
    ORDER,
    cone_ranges,
    separation_arcsec,
)

Flags = NDArray[np.bool_]
Values = NDArray[np.float64]

MAX_VERTICES = 200
#: A polygon reaches no farther from its middle, so that it has one inside [degrees].
MAX_POLYGON_RADIUS_DEG = 80.0
#: Cells of a MOC are kept at the deepest order that 64 bits hold.
MOC_ORDER = 29
#: Boxes that reach farther from their middle are searched by their bounds alone [degrees].
_MAX_COVERED_DEG = 60.0
_MAX_RANGES = 48


class Region(Protocol):
    """A part of the sky."""

    def cover(self) -> list[tuple[int, int]]:
        """Half-open ranges of NESTED order-14 cells that hold it; empty: the whole sky."""

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> Flags:
        """Which positions [ICRS degrees] lie in it."""


@dataclass(frozen=True)
class Cone:
    """All within ``radius_arcsec`` of a centre [ICRS degrees], the rim included."""

    ra: float
    dec: float
    radius_arcsec: float

    def cover(self) -> list[tuple[int, int]]:
        """Ranges of cells that hold it."""
        return cone_ranges(self.ra, self.dec, min(self.radius_arcsec, MAX_RADIUS_ARCSEC))

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> Flags:
        """Which positions lie in it."""
        apart = separation_arcsec(self.ra, self.dec, ra, dec)
        return np.asarray(apart <= self.radius_arcsec, dtype=bool)


@dataclass(frozen=True)
class Box:
    """Between two meridians, going east from ``ra_min`` to ``ra_max``, and two parallels.

    ``ra_min`` above ``ra_max`` crosses RA 0; all sides belong to it.
    """

    ra_min: float
    ra_max: float
    dec_min: float
    dec_max: float

    def __post_init__(self) -> None:
        """Refuse what is upside down."""
        if self.dec_min > self.dec_max:
            msg = f"dec_min: {self.dec_min} is above dec_max {self.dec_max}"
            raise ValueError(msg)

    @property
    def width_deg(self) -> float:
        """From west to east [degrees of right ascension]."""
        if self.ra_max >= self.ra_min:
            return self.ra_max - self.ra_min
        return self.ra_max + 360.0 - self.ra_min

    def cover(self) -> list[tuple[int, int]]:
        """Ranges of cells that hold it.

        Seen from the middle its farthest points are its corners as long as it is not wider than
        half the sky: along a meridian at most 90 degrees away the distance has no inner maximum.
        """
        if self.width_deg > 180.0:
            return []
        ra, dec = (self.ra_min + self.width_deg / 2) % 360.0, (self.dec_min + self.dec_max) / 2
        corners = separation_arcsec(
            ra, dec, [self.ra_min] * 2 + [self.ra_max] * 2, [self.dec_min, self.dec_max] * 2
        )
        reach = float(corners.max()) + 1e-3
        return cone_ranges(ra, dec, reach) if reach < _MAX_COVERED_DEG * 3600.0 else []

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> Flags:
        """Which positions lie in it."""
        lon, lat = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
        after, before = lon >= self.ra_min, lon <= self.ra_max
        across = after & before if self.ra_max >= self.ra_min else after | before
        return np.asarray(across & (lat >= self.dec_min) & (lat <= self.dec_max), dtype=bool)


@dataclass(frozen=True)
class Polygon:
    """Corners [ICRS degrees] joined by great circles, in either sense; may be concave."""

    corners: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Refuse what has no inside."""
        if not 3 <= len(self.corners) <= MAX_VERTICES:
            msg = f"polygon: needs 3 to {MAX_VERTICES} corners, got {len(self.corners)}"
            raise ValueError(msg)
        vectors = self._vectors()
        middle = vectors.sum(axis=0)
        length = float(np.linalg.norm(middle))
        reach = np.cos(np.radians(MAX_POLYGON_RADIUS_DEG))
        if length == 0 or float((vectors @ (middle / length)).min()) < reach:
            msg = (
                "polygon: reaches farther than "
                f"{MAX_POLYGON_RADIUS_DEG:g} degrees from its middle; split it"
            )
            raise ValueError(msg)

    def cover(self) -> list[tuple[int, int]]:
        """Ranges of cells that hold the circle around it; a circle is geodesically convex."""
        middle = self._middle()
        ra = float(np.degrees(np.arctan2(middle[1], middle[0]))) % 360.0 % 360.0
        dec = float(np.degrees(np.arcsin(np.clip(middle[2], -1.0, 1.0))))
        places = np.array(self.corners)
        reach = separation_arcsec(ra, dec, places[:, 0], places[:, 1]).max()
        return cone_ranges(ra, dec, float(reach) + 1e-3)

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> Flags:
        """Which positions lie in it: on the tangent plane great circles are straight lines."""
        middle = self._middle()
        pole = np.eye(3)[int(np.argmin(np.abs(middle)))]
        east = np.cross(pole, middle)
        east /= np.linalg.norm(east)
        north = np.cross(middle, east)
        corners, points = self._vectors(), _unit_vectors(ra, dec)
        u, v = (corners @ axis / (corners @ middle) for axis in (east, north))
        depth = points @ middle
        is_near = depth > 0
        safe = np.where(is_near, depth, 1.0)
        return is_near & _is_inside(points @ east / safe, points @ north / safe, u=u, v=v)

    def _vectors(self) -> Values:
        places = np.array(self.corners, dtype=np.float64)
        return _unit_vectors(places[:, 0], places[:, 1])

    def _middle(self) -> Values:
        middle = self._vectors().sum(axis=0)
        return np.asarray(middle / np.linalg.norm(middle))


def _unit_vectors(ra: ArrayLike, dec: ArrayLike) -> Values:
    """Directions, shape (n, 3)."""
    lon, lat = np.radians(np.asarray(ra, np.float64)), np.radians(np.asarray(dec, np.float64))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _is_inside(x: Values, y: Values, *, u: Values, v: Values) -> Flags:
    """Whether points of a plane lie in a polygon: a ray to the right crosses it an odd number."""
    is_odd = np.zeros(np.shape(x), dtype=bool)
    for u0, v0, u1, v1 in zip(u, v, np.roll(u, -1), np.roll(v, -1), strict=True):
        if v0 == v1:
            continue
        crosses = (v0 > y) != (v1 > y)
        is_odd ^= crosses & (x < u0 + (y - v0) * (u1 - u0) / (v1 - v0))
    return is_odd


@dataclass(frozen=True)
class Moc:
    """A multi-order coverage map: half-open ranges of order-29 cells, ascending and disjoint."""

    ranges: tuple[tuple[int, int], ...]

    def cover(self) -> list[tuple[int, int]]:
        """Ranges of order-14 cells that hold it, the nearest joined while they are too many."""
        shift = 2 * (MOC_ORDER - ORDER)
        coarse = _join([(low >> shift, -(-high >> shift)) for low, high in self.ranges])
        if len(coarse) <= _MAX_RANGES:
            return coarse
        gaps = np.array([b[0] - a[1] for a, b in pairwise(coarse)])
        kept = np.sort(np.argsort(-gaps, kind="stable")[: _MAX_RANGES - 1])
        starts = [0, *(int(k) + 1 for k in kept)]
        ends = [*(int(k) for k in kept), len(coarse) - 1]
        return [(coarse[a][0], coarse[b][1]) for a, b in zip(starts, ends, strict=True)]

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> Flags:
        """Which positions lie in one of its cells."""
        lon, lat = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
        index = cells.ang2pix(2**MOC_ORDER, lon % 360.0, lat, nest=True, lonlat=True)
        bounds = np.array(self.ranges, dtype=np.int64)
        row = np.searchsorted(bounds[:, 0], index, side="right") - 1
        return np.asarray((row >= 0) & (index < bounds[np.maximum(row, 0), 1]), dtype=bool)


def read_polygon(text: str) -> Polygon:
    """A polygon from ``ra dec, ra dec, ra dec`` in degrees.

    Raises
    ------
    ValueError
        If it is none; the message says why.
    """
    corners = []
    for pair in (part for part in re.split(r"[,;\n]+", text) if part.strip()):
        words = pair.split()
        try:
            ra, dec = (float(word) for word in words)
        except ValueError:
            msg = f"polygon: “{pair.strip()[:40]}” is not “ra dec” in degrees"
            raise ValueError(msg) from None
        if not (0.0 <= ra <= 360.0 and -90.0 <= dec <= 90.0):
            msg = f"polygon: {pair.strip()[:40]} is not on the sky"
            raise ValueError(msg)
        corners.append((ra % 360.0, dec))
    if len(corners) > 3 and corners[0] == corners[-1]:
        corners.pop()
    return Polygon(tuple(corners))


def read_moc(text: str) -> Moc:
    """A MOC from its string form, ``6/123 125-130 7/600``.

    Raises
    ------
    ValueError
        If it is none; the message says why.

    References
    ----------
    .. [1] IVOA MOC 2.0, section 4.3.2, ASCII.
    """
    found: list[tuple[int, int]] = []
    order = -1
    for word in re.sub(r"\s*/\s*", "/ ", text.replace(",", " ")).split():
        match = re.fullmatch(r"(?:s?(\d{1,2})/|(\d{1,18})(?:-(\d{1,18}))?)", word)
        if match is None or (order < 0 and match[1] is None):
            msg = f"moc: “{word[:40]}” is neither an order like 6/ nor a cell or a range of cells"
            raise ValueError(msg)
        if match[1] is not None:
            order = int(match[1])
            if order > MOC_ORDER:
                msg = f"moc: order {order} is deeper than {MOC_ORDER}"
                raise ValueError(msg)
            continue
        found.append(_cells(int(match[2]), int(match[3] or match[2]), order=order))
    if not found:
        msg = "moc: has no cell"
        raise ValueError(msg)
    return Moc(tuple(_join(sorted(found))))


def _cells(first: int, last: int, *, order: int) -> tuple[int, int]:
    """Cells of one order, both ends included, as a range at the deepest."""
    if not first <= last < 12 * 4**order:
        msg = f"moc: order {order} has cells 0 to {12 * 4**order - 1}, not {first}-{last}"
        raise ValueError(msg)
    shift = 2 * (MOC_ORDER - order)
    return first << shift, (last + 1) << shift


def _join(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending ranges without those that touch or overlap."""
    joined: list[tuple[int, int]] = []
    for low, high in ranges:
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined
