"""Which detections of one epoch belong to which known objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.healpix import separation_arcsec

Values = NDArray[np.float64]
IndexArray = NDArray[np.int64]

#: Nobody's astrometry is better than this; keeps tiny quoted errors from deciding everything.
POSITION_FLOOR_ARCSEC = 0.1


@dataclass(frozen=True)
class SkyPositions:
    """Positions on the sky; arrays of shape (n,).

    Attributes
    ----------
    ra, dec : NDArray[float64]
        ICRS degrees.
    error_arcsec : NDArray[float64] or None
        Standard error per axis [arcsec]; None where all are as good as the floor of 0.1 arcsec.
    """

    ra: Values
    dec: Values
    error_arcsec: Values | None = None

    def __post_init__(self) -> None:
        if self.ra.shape != self.dec.shape or self.ra.ndim != 1:
            msg = f"ra, dec: must be 1-D of one length, got {self.ra.shape} and {self.dec.shape}"
            raise ValueError(msg)
        if self.error_arcsec is not None and self.error_arcsec.shape != self.ra.shape:
            msg = f"error_arcsec: shape {self.error_arcsec.shape} differs from {self.ra.shape}"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.ra)


@dataclass(frozen=True)
class Matches:
    """Pairs of detection and object; arrays of shape (n,), best pair first."""

    detection: IndexArray
    object: IndexArray
    separation_arcsec: Values

    def __len__(self) -> int:
        return len(self.detection)


def match(
    detections: SkyPositions,
    objects: SkyPositions,
    radius_arcsec: float,
    *,
    n_sigma: float = 3.0,
    max_radius_factor: float = 3.0,
) -> Matches:
    """Pair the detections of one epoch with objects, each of them at most once.

    Parameters
    ----------
    detections, objects : SkyPositions
        n detections of one epoch and m known objects.
    radius_arcsec : float
        Pairs within this separation always qualify.
    n_sigma : float
        A pair whose positions are uncertain qualifies out to this many sigma of their combined
        error,
    max_radius_factor : float
        but never beyond this many radii.

    Returns
    -------
    Matches
        The pair nearest in units of its combined error is taken first, then the nearest among
        what is left, and so on. What is not in it has no partner.

    Raises
    ------
    ValueError
        If the radius is not positive.
    """
    if not radius_arcsec > 0:
        msg = f"radius_arcsec: must be positive, got {radius_arcsec}"
        raise ValueError(msg)
    first, second = _pairs_within(detections, objects, radius_arcsec * max_radius_factor)
    separation = separation_arcsec(
        detections.ra[first], detections.dec[first], objects.ra[second], objects.dec[second]
    )
    sigma = np.hypot(_error(detections)[first], _error(objects)[second])
    allowed = np.clip(n_sigma * sigma, radius_arcsec, radius_arcsec * max_radius_factor)
    near = separation <= allowed
    first, second = first[near], second[near]
    separation, sigma = separation[near], sigma[near]
    # ties (as with positions on a grid) go to the lower indices, whatever order the tree gave
    order = np.lexsort((second, first, separation, separation / sigma))
    chosen = order[_first_use(first[order], second[order])]
    return Matches(first[chosen], second[chosen], separation[chosen])


def group(positions: SkyPositions, radius_arcsec: float) -> IndexArray:
    """Group positions of several epochs into objects: strongest first, each takes its neighbours.

    Parameters
    ----------
    positions : SkyPositions
        Positions in order of trust, e.g. descending score.
    radius_arcsec : float
        A position belongs to the first group whose founder is within this separation.

    Returns
    -------
    NDArray[int64], shape (n,)
        Group number of each position, 0-based, in order of the founders.
    """
    label = np.full(len(positions), -1, dtype=np.int64)
    first, second = _pairs_within(positions, positions, radius_arcsec)
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    bounds = np.searchsorted(first, np.arange(len(positions) + 1))
    n_groups = 0
    for founder in range(len(positions)):
        if label[founder] >= 0:
            continue
        near = second[bounds[founder] : bounds[founder + 1]]
        label[near[label[near] < 0]] = n_groups
        n_groups += 1
    return label


def _error(positions: SkyPositions) -> Values:
    """Errors with the floor added [arcsec]."""
    if positions.error_arcsec is None:
        return np.full(len(positions), POSITION_FLOOR_ARCSEC)
    return np.hypot(positions.error_arcsec, POSITION_FLOOR_ARCSEC)


def _unit_vectors(positions: SkyPositions) -> Values:
    """Unit vectors (n, 3): no pole and no RA 0 in them."""
    lon, lat = np.radians(positions.ra), np.radians(positions.dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _pairs_within(
    a: SkyPositions, b: SkyPositions, radius_arcsec: float
) -> tuple[IndexArray, IndexArray]:
    """All pairs within a separation, by chord length in a tree."""
    if len(a) == 0 or len(b) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    half_angle = np.radians(min(radius_arcsec / 3600.0, 180.0)) / 2.0
    # rounding of unit vectors: 1e-15 of a radian is 2e-10 arcsec; the caller compares exactly
    chord = 2.0 * np.sin(half_angle) + 1e-14
    tree = cKDTree(_unit_vectors(b))
    neighbours = tree.query_ball_point(_unit_vectors(a), chord)
    count = np.array([len(n) for n in neighbours], dtype=np.int64)
    first = np.repeat(np.arange(len(a), dtype=np.int64), count)
    second = np.fromiter((j for n in neighbours for j in n), dtype=np.int64, count=int(count.sum()))
    return first, second


def _first_use(first: IndexArray, second: IndexArray) -> IndexArray:
    """Rows in which neither member was used by an earlier chosen row."""
    used_first: set[int] = set()
    used_second: set[int] = set()
    chosen = []
    for row, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        if i in used_first or j in used_second:
            continue
        used_first.add(i)
        used_second.add(j)
        chosen.append(row)
    return np.array(chosen, dtype=np.int64)
