"""Match two star lists without any prior, by triangles of the same shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import pdtrc

Float64 = NDArray[np.float64]
Complex = NDArray[np.complex128]

_MAX_HYPOTHESES = 4000
_MIN_INLIERS = 4
# chance, over all hypotheses tried, that unrelated stars agree as well
_FALSE_ALARM = 1e-3


@dataclass(frozen=True)
class AsterismMatch:
    """A similarity ``w = a z + b`` (``a conj(z) + b`` where flipped) found from two star lists.

    Attributes
    ----------
    parameters : NDArray[complex128], shape (2,)
        (a, b) with z = x + iy.
    flipped : bool
        Whether the parity differs.
    source, target : NDArray[int], shape (n,)
        Matched stars.
    """

    parameters: Complex
    flipped: bool
    source: NDArray[np.intp]
    target: NDArray[np.intp]


@dataclass(frozen=True)
class _Triangles:
    """Triangles of a star list: vertices in order of the opposite side, and two side ratios."""

    vertices: NDArray[np.intp]
    ratios: Float64


def match_asterisms(
    source: Complex,
    target: Complex,
    *,
    tolerance_pix: float = 2.0,
    max_stars: int = 80,
    max_scale: float = 3.2,
) -> AsterismMatch | None:
    """Find the similarity that carries one star list onto another.

    Parameters
    ----------
    source, target : NDArray[complex128], shape (n,), (m,)
        Positions x + iy [pix], brightest first.
    tolerance_pix : float
        Largest distance of a matched pair, in target pixels.
    max_stars : int
        Stars of each list used to make triangles.
    max_scale : float
        Largest ratio of the two pixel scales, either way.

    Returns
    -------
    AsterismMatch or None
        The best similarity, with its matched pairs; None where no agreement is beyond chance.

    References
    ----------
    .. [1] Valdes et al. 1995, PASP 107, 1119 (triangle space); Beroiz et al. 2020, A&C 32, 100384.
    """
    if source.size < 3 or target.size < 3:
        return None
    best: AsterismMatch | None = None
    # the bright ends of two bands or depths differ: few stars first, more where those fail
    for n_stars in (25, max_stars):
        found = _search(
            source, target, n_stars=n_stars, tolerance=tolerance_pix, max_scale=max_scale
        )
        if found is not None and (best is None or found.source.size > best.source.size):
            best = found
        if best is not None and best.source.size >= 8:
            break
    return best


def _search(
    source: Complex, target: Complex, *, n_stars: int, tolerance: float, max_scale: float
) -> AsterismMatch | None:
    """Best similarity among the triangles of the ``n_stars`` brightest of each list."""
    ours, theirs = _triangles(source[:n_stars]), _triangles(target[:n_stars])
    if len(ours.ratios) == 0 or len(theirs.ratios) == 0:
        return None
    pairs = _similar_pairs(ours, theirs)
    if len(pairs) == 0:
        return None
    best: AsterismMatch | None = None
    n_tried = 0
    for flipped in (False, True):
        z = np.conj(source) if flipped else source
        hypotheses = _hypotheses(z, target, ours, theirs, pairs=pairs, max_scale=max_scale)
        n_tried += len(hypotheses)
        found = _best_of(hypotheses, z, target, n_stars=n_stars, tolerance=tolerance)
        if found is None:
            continue
        refined = _refine(found, z, target, flipped=flipped, tolerance=tolerance)
        if best is None or refined.source.size > best.source.size:
            best = refined
    if best is None or not _beyond_chance(
        best, source, target, n_tried=n_tried, tolerance=tolerance
    ):
        return None
    return best


def _triangles(points: Complex) -> _Triangles:
    """Triangles of every star with pairs of its nearest neighbours."""
    n = points.size
    if n < 3:
        return _Triangles(np.zeros((0, 3), dtype=np.intp), np.zeros((0, 2)))
    k = min(n, 8)
    _, near = cKDTree(np.column_stack([points.real, points.imag])).query(
        np.column_stack([points.real, points.imag]), k=k
    )
    first, second = np.triu_indices(k - 1, 1)
    trio = np.stack(
        [
            np.repeat(near[:, :1], first.size, axis=1),
            near[:, 1:][:, first],
            near[:, 1:][:, second],
        ],
        axis=-1,
    ).reshape(-1, 3)
    trio = np.unique(np.sort(trio, axis=1), axis=0)
    corners = points[trio]
    opposite = np.abs(np.roll(corners, -1, axis=1) - np.roll(corners, -2, axis=1))
    order = np.argsort(opposite, axis=1)
    vertices = np.take_along_axis(trio, order, axis=1)
    sides = np.take_along_axis(opposite, order, axis=1)
    ratios = np.column_stack(
        [sides[:, 1] / sides[:, 2], sides[:, 0] / np.maximum(sides[:, 1], 1e-9)]
    )
    # needles and near-isosceles triangles do not tell their corners apart
    fair = (
        (sides[:, 0] > 5.0) & (ratios[:, 0] < 0.98) & (ratios[:, 1] < 0.98) & (ratios[:, 1] > 0.1)
    )
    return _Triangles(vertices[fair], ratios[fair])


def _similar_pairs(ours: _Triangles, theirs: _Triangles) -> NDArray[np.intp]:
    """Pairs of triangles whose side ratios agree, closest first."""
    tree = cKDTree(theirs.ratios)
    distance, index = tree.query(
        ours.ratios, k=min(6, len(theirs.ratios)), distance_upper_bound=0.02
    )
    distance = distance.reshape(len(ours.ratios), -1)
    index = index.reshape(len(ours.ratios), -1)
    row, column = np.nonzero(np.isfinite(distance))
    order = np.argsort(distance[row, column], kind="stable")
    return np.column_stack([row[order], index[row[order], column[order]]])


def _hypotheses(
    z: Complex,
    target: Complex,
    ours: _Triangles,
    theirs: _Triangles,
    *,
    pairs: NDArray[np.intp],
    max_scale: float,
) -> Complex:
    """Similarities (a, b) of triangle pairs that fit their three corners, of credible scale."""
    from_, to = z[ours.vertices[pairs[:, 0]]], target[theirs.vertices[pairs[:, 1]]]
    mean_from, mean_to = from_.mean(axis=1, keepdims=True), to.mean(axis=1, keepdims=True)
    centred = from_ - mean_from
    a = (np.conj(centred) * (to - mean_to)).sum(axis=1) / (np.abs(centred) ** 2).sum(axis=1)
    b = mean_to[:, 0] - a * mean_from[:, 0]
    miss = np.abs(a[:, None] * from_ + b[:, None] - to).max(axis=1)
    scale = np.abs(a)
    fair = (miss < 2.0) & (scale < max_scale) & (scale > 1.0 / max_scale)
    credible: Complex = np.column_stack([a, b])[fair][:_MAX_HYPOTHESES]
    return credible


def _best_of(
    hypotheses: Complex, z: Complex, target: Complex, *, n_stars: int, tolerance: float
) -> Complex | None:
    """The hypothesis that brings most stars onto stars."""
    if len(hypotheses) == 0:
        return None
    tree = cKDTree(np.column_stack([target.real, target.imag]))
    bright = z[: max(n_stars, 60)]
    mapped = hypotheses[:, :1] * bright[None, :] + hypotheses[:, 1:]
    distance, index = tree.query(
        np.column_stack([mapped.real.ravel(), mapped.imag.ravel()]),
        distance_upper_bound=2 * tolerance,
    )
    index = np.sort(np.where(np.isfinite(distance), index, -1).reshape(mapped.shape), axis=1)
    # a shrinking map piles many stars onto one: count targets once
    counts = ((np.diff(index, axis=1) > 0) & (index[:, 1:] >= 0)).sum(axis=1) + (index[:, 0] >= 0)
    best: Complex = np.array(hypotheses[int(np.argmax(counts))], dtype=np.complex128)
    return best


def _refine(
    parameters: Complex, z: Complex, target: Complex, *, flipped: bool, tolerance: float
) -> AsterismMatch:
    """Least-squares similarity over all mutual nearest pairs, repeated as the pairs settle."""
    for radius in (3.0 * tolerance, 2.0 * tolerance, tolerance, tolerance):
        source, goal = mutual_pairs(parameters[0] * z + parameters[1], target, radius=radius)
        if source.size < 3:
            break
        design = np.column_stack([z[source], np.ones(source.size)])
        solution = np.linalg.lstsq(design, target[goal], rcond=None)[0]
        parameters = np.asarray(solution, dtype=np.complex128)
    source, goal = mutual_pairs(parameters[0] * z + parameters[1], target, radius=tolerance)
    return AsterismMatch(parameters, flipped, source, goal)


def mutual_pairs(
    source: Complex, target: Complex, *, radius: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of stars that are each other's nearest within ``radius`` [pix]."""
    ours = np.column_stack([source.real, source.imag])
    theirs = np.column_stack([target.real, target.imag])
    distance, forth = cKDTree(theirs).query(ours, distance_upper_bound=radius)
    _, back = cKDTree(ours).query(theirs)
    near = np.flatnonzero(np.isfinite(distance))
    mutual = near[back[forth[near]] == near]
    return mutual, forth[mutual]


def _beyond_chance(
    match: AsterismMatch, source: Complex, target: Complex, *, n_tried: int, tolerance: float
) -> bool:
    """Whether unrelated star lists would hardly ever agree on as many stars."""
    n_inliers = match.source.size
    if n_inliers < _MIN_INLIERS:
        return False
    z = np.conj(source) if match.flipped else source
    mapped = match.parameters[0] * z + match.parameters[1]
    low = target.real.min(), target.imag.min()
    high = target.real.max(), target.imag.max()
    inside = (mapped.real > low[0]) & (mapped.real < high[0])
    inside &= (mapped.imag > low[1]) & (mapped.imag < high[1])
    area = max((high[0] - low[0]) * (high[1] - low[1]), 1.0)
    expected = float(inside.sum()) * target.size * np.pi * tolerance**2 / area
    # three pairs define the hypothesis and prove nothing
    by_chance = float(pdtrc(n_inliers - 4, expected)) if n_inliers >= 4 else 1.0
    chance = by_chance * max(n_tried, 1)
    return chance < _FALSE_ALARM
