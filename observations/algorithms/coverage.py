"""How much of one frame another covers, from their corners alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Corners = Sequence[Sequence[float]]

_SAMPLES = 100


def covered_fraction(corners: Corners, other: Corners) -> float:
    """Fraction of a frame's area inside another frame.

    Parameters
    ----------
    corners, other : sequence of (ra, dec)
        Corners of the two frames in order around them, ICRS degrees; frames well under a
        hemisphere, as those of every camera are.

    Returns
    -------
    float
        0 to 1, good to about 0.01. Edges are great circles, so RA 0 and the poles need no special
        case; distortion within a frame is not seen.

    Raises
    ------
    ValueError
        If either has fewer than three corners.
    """
    if min(len(corners), len(other)) < 3:
        msg = f"corners, other: need at least 3 corners, got {len(corners)} and {len(other)}"
        raise ValueError(msg)
    mine, theirs = _vectors(corners), _vectors(other)
    centre = mine.sum(axis=0)
    centre /= np.linalg.norm(centre)
    # the gnomonic projection shows great circles as straight lines, on one hemisphere only
    if (theirs @ centre <= math.cos(math.radians(80.0))).any():
        return 0.0
    plane = _project(mine, centre)
    points = _grid_inside(plane)
    return float(_is_inside(points, _project(theirs, centre)).mean())


def _vectors(corners: Corners) -> FloatArray:
    sky = np.radians(np.asarray(corners, dtype=np.float64))
    ra, dec = sky[:, 0], sky[:, 1]
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _project(vectors: FloatArray, centre: FloatArray) -> FloatArray:
    """Gnomonic projection on the plane that touches the sphere at ``centre``."""
    # any axis that is not nearly parallel to the centre starts a basis: the poles are no exception
    axis = np.eye(3)[int(np.argmin(np.abs(centre)))]
    first = np.cross(axis, centre)
    first /= np.linalg.norm(first)
    second = np.cross(centre, first)
    height = vectors @ centre
    return np.column_stack([vectors @ first / height, vectors @ second / height])


def _grid_inside(polygon: FloatArray) -> FloatArray:
    """Points of a regular grid that lie inside a convex polygon."""
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    steps = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    x, y = np.meshgrid(*(low[:, None] + (high - low)[:, None] * steps))
    points = np.column_stack([x.ravel(), y.ravel()])
    return points[_is_inside(points, polygon)]


def _is_inside(points: FloatArray, polygon: FloatArray) -> NDArray[np.bool_]:
    """Whether points lie on one side of every edge of a convex polygon."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    sides = [
        edge[0] * (points[:, 1] - start[1]) - edge[1] * (points[:, 0] - start[0])
        for start, edge in zip(polygon, edges, strict=True)
    ]
    turned = np.stack(sides)
    return np.asarray((turned >= 0).all(axis=0) | (turned <= 0).all(axis=0))
