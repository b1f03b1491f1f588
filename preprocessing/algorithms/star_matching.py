"""Match the stars of two frames through a map, and correct the map by what matched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.algorithms.asterisms import mutual_pairs
from preprocessing.algorithms.plane_map import PlaneMap, apply_maps, fit_map, shift_map
from preprocessing.algorithms.stars import StarList

Float64 = NDArray[np.float64]
Index = NDArray[np.intp]

_MAX_STARS = 2000
# with fewer, a higher order follows the noise and swings where no star holds it
_ORDER_MATCHES = ((120, 3), (40, 2), (6, 1))


@dataclass(frozen=True)
class Matches:
    """Indices of matched stars in the science and in the reference list."""

    science: Index
    reference: Index


def prefer_stars(matches: Matches, reference_stars: StarList, science_stars: StarList) -> Matches:
    """Only the clean stars among the matches, where there are enough of them."""
    clean = science_stars.is_star[matches.science] & reference_stars.is_star[matches.reference]
    if clean.sum() < 8:
        return matches
    return Matches(matches.science[clean], matches.reference[clean])


def match_stars(
    maps: tuple[PlaneMap, ...],
    reference_stars: StarList,
    science_stars: StarList,
    *,
    radius: float,
) -> Matches:
    """Mutual nearest pairs within ``radius`` [reference pix] among sources of S/N above 10."""
    ours = np.flatnonzero(science_stars.snr > 10.0)[:_MAX_STARS]
    theirs = np.flatnonzero(reference_stars.snr > 10.0)[: 2 * _MAX_STARS]
    if ours.size == 0 or theirs.size == 0:
        return Matches(np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp))
    x, y = apply_maps(maps, science_stars.x[ours], science_stars.y[ours])
    target = reference_stars.x[theirs] + 1j * reference_stars.y[theirs]
    source, goal = mutual_pairs(x + 1j * y, target, radius=radius)
    return Matches(ours[source], theirs[goal])


def fit_correction(
    maps: tuple[PlaneMap, ...],
    matches: Matches,
    reference_stars: StarList,
    science_stars: StarList,
    shape: tuple[int, int],
) -> PlaneMap:
    """Clipped weighted polynomial from predicted to measured reference positions."""
    x, y = apply_maps(maps, science_stars.x[matches.science], science_stars.y[matches.science])
    to_x, to_y = reference_stars.x[matches.reference], reference_stars.y[matches.reference]
    variance = _centroid_variance(matches, reference_stars, science_stars)
    kept = np.ones(x.size, dtype=np.bool_)
    for _ in range(6):
        order = next((o for n, o in _ORDER_MATCHES if kept.sum() >= n), 0)
        found = fit_map(
            x[kept],
            y[kept],
            to_x=to_x[kept],
            to_y=to_y[kept],
            order=order,
            shape=shape,
            weight=1.0 / variance[kept],
        )
        fit_x, fit_y = found(x, y)
        if order == 0:
            found, fit_x, fit_y = _shift_only(x, y, to_x=to_x, to_y=to_y, kept=kept, shape=shape)
        pull = np.hypot(fit_x - to_x, fit_y - to_y) / np.sqrt(variance)
        limit = 3.5 * max(float(np.median(pull[kept])) / 1.1774, 0.3)
        kept = pull < limit
        if kept.sum() < 3:
            kept = pull <= np.sort(pull)[min(2, pull.size - 1)]
    return found


def _shift_only(
    x: Float64,
    y: Float64,
    *,
    to_x: Float64,
    to_y: Float64,
    kept: NDArray[np.bool_],
    shape: tuple[int, int],
) -> tuple[PlaneMap, Float64, Float64]:
    """Median shift, and the positions it gives: all that a handful of stars can correct."""
    shift = np.array([np.median((to_x - x)[kept]), np.median((to_y - y)[kept])])
    return shift_map(shift, shape), x + shift[0], y + shift[1]


def _centroid_variance(
    matches: Matches, reference_stars: StarList, science_stars: StarList
) -> Float64:
    """Variance of the distance of matched centroids per axis [pix^2]: 1.5 / snr and a floor."""
    ours, theirs = science_stars.snr[matches.science], reference_stars.snr[matches.reference]
    floor = 0.02
    return (1.5 / ours) ** 2 + (1.5 / theirs) ** 2 + floor**2
