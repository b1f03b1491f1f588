"""Match the stars of two frames through a map, and correct the map by what matched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.psf import position_terms
from preprocessing.algorithms.asterisms import mutual_pairs
from preprocessing.algorithms.plane_map import PlaneMap, apply_maps, fit_map, shift_map
from preprocessing.algorithms.stars import StarList

Float64 = NDArray[np.float64]
Index = NDArray[np.intp]

_MAX_STARS = 2000
# with fewer, a higher order follows the noise and swings where no star holds it
_ORDER_MATCHES = ((120, 3), (40, 2), (6, 1))
# a higher order than that needs so many stars for each of its terms, a misfit of the lower one
# (68 % of honest stars lie within 1.5 of their errors) and to lower it by this factor
_STARS_PER_TERM = 3
_MAX_ORDER = 5
_DISTORTED = 2.0
_BETTER = 0.8


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
    """Clipped weighted polynomial from predicted to measured reference positions.

    Its order is what the number of stars is safe for. Where the stars miss it by more than their
    errors, as they do under a distortion that no header tells of, higher orders are tried, and
    taken if they predict stars better that were left out of the fit.
    """
    x, y = apply_maps(maps, science_stars.x[matches.science], science_stars.y[matches.science])
    to_x, to_y = reference_stars.x[matches.reference], reference_stars.y[matches.reference]
    sigma = np.sqrt(_centroid_variance(matches, reference_stars, science_stars))
    pairs = _Pairs(x, y, to_x, to_y, sigma)
    best = _fit_clipped(pairs, None, shape)
    while best.miss > _DISTORTED and best.order > 0:
        order = best.order + 1
        n_terms = (order + 1) * (order + 2) // 2
        if order > _MAX_ORDER or pairs.x.size < _STARS_PER_TERM * n_terms:
            break
        higher = _fit_clipped(pairs, order, shape)
        # an even order alone may gain nothing on an odd distortion
        if higher.miss > _BETTER * best.miss and order < _MAX_ORDER:
            n_next = (order + 2) * (order + 3) // 2
            if pairs.x.size >= _STARS_PER_TERM * n_next:
                higher = _fit_clipped(pairs, order + 1, shape)
        if higher.miss > _BETTER * best.miss:
            break
        best = higher
    return best.map


@dataclass(frozen=True)
class _Pairs:
    """Predicted and measured reference positions of matched stars, and the error of both."""

    x: Float64
    y: Float64
    to_x: Float64
    to_y: Float64
    sigma: Float64


@dataclass(frozen=True)
class _Fit:
    """A map, and by how much stars that were left out of its fit miss it [their errors]."""

    map: PlaneMap
    order: int
    miss: float


def _fit_clipped(pairs: _Pairs, order: int | None, shape: tuple[int, int]) -> _Fit:
    """Polynomial of an order, or that which the number of stars is safe for."""
    kept = np.ones(pairs.x.size, dtype=np.bool_)
    for _ in range(6):
        safe = next((o for n, o in _ORDER_MATCHES if kept.sum() >= n), 0)
        chosen = safe if order is None else order
        found = fit_map(
            pairs.x[kept],
            pairs.y[kept],
            to_x=pairs.to_x[kept],
            to_y=pairs.to_y[kept],
            order=chosen,
            shape=shape,
            weight=1.0 / pairs.sigma[kept] ** 2,
        )
        fit_x, fit_y = found(pairs.x, pairs.y)
        if chosen == 0:
            found, fit_x, fit_y = _shift_only(
                pairs.x, pairs.y, to_x=pairs.to_x, to_y=pairs.to_y, kept=kept, shape=shape
            )
        pull = np.hypot(fit_x - pairs.to_x, fit_y - pairs.to_y) / pairs.sigma
        limit = 3.5 * max(float(np.median(pull[kept])) / 1.1774, 0.3)
        kept = pull < limit
        if kept.sum() < 3:
            kept = pull <= np.sort(pull)[min(2, pull.size - 1)]
    alone = pull / (1.0 - _leverage(pairs, kept, chosen, shape))
    # all pairs are judged, not only those that a fit keeps: a low order clips the corners away
    return _Fit(found, chosen, float(np.percentile(alone, 68.0)))


def _leverage(
    pairs: _Pairs, kept: NDArray[np.bool_], order: int, shape: tuple[int, int]
) -> Float64:
    """Share that each star of a fit has in its own prediction; 0 for those left out."""
    share = np.zeros(pairs.x.size)
    terms = position_terms(pairs.x[kept], pairs.y[kept], shape=shape, order=order)
    q, _ = np.linalg.qr(terms / pairs.sigma[kept, None])
    share[kept] = np.clip(np.square(q).sum(axis=1), 0.0, 0.95)
    return share


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
