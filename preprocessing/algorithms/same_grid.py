"""Frames that lie on one grid already, and how far their stars are from saying so."""

from __future__ import annotations

import numpy as np

from astrid_site.imaging.image import Image
from preprocessing.algorithms.plane_map import PlaneMap, apply_maps, frame_grid
from preprocessing.algorithms.star_matching import match_stars
from preprocessing.algorithms.stars import StarList

#: Two WCS that differ by less [pix] put their frames on one grid.
_ONE_GRID_PIX = 0.02


def is_still(step: PlaneMap, shape: tuple[int, int], *, tolerance: float) -> bool:
    """Whether a map moves no position of a frame by more than ``tolerance`` [pix]."""
    x, y = frame_grid(shape, 9)
    to_x, to_y = step(x, y)
    return bool(np.hypot(to_x - x, to_y - y).max() <= tolerance)


def is_one_grid(prior: PlaneMap, reference: Image, science: Image) -> bool:
    """Whether the map between two WCS puts both frames on the same pixels."""
    return reference.shape == science.shape and is_still(
        prior, science.shape, tolerance=_ONE_GRID_PIX
    )


def median_miss(
    maps: tuple[PlaneMap, ...], reference_stars: StarList, science_stars: StarList
) -> float:
    """Length [reference pix] of the median shift by which stars miss a map."""
    near = match_stars(maps, reference_stars, science_stars, radius=1.0)
    x, y = apply_maps(maps, science_stars.x[near.science], science_stars.y[near.science])
    dx, dy = reference_stars.x[near.reference] - x, reference_stars.y[near.reference] - y
    return float(np.hypot(np.median(dx), np.median(dy)))
