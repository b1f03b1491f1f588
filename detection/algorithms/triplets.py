"""Triplets: science, template and difference around each candidate, with the score beside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.cutouts import cut_out
from astrid_site.imaging.difference_products import DifferenceProducts
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import UNUSABLE, MaskPlane, is_bad

FloatArray = NDArray[np.float32]

#: Order of the planes of a triplet.
PLANES = ("science", "template", "difference", "score")
SIZE = 63


def cut_triplets(
    science: Image,
    template: Image,
    subtraction: DifferenceProducts,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    size: int = SIZE,
) -> FloatArray:
    """Cut science, template, difference and score around positions.

    Parameters
    ----------
    science, template : Image
        The two images on one grid of shape (ny, nx).
    subtraction : DifferenceProducts
        Their difference on the same grid.
    x, y : NDArray[float64], shape (n,)
        Positions [pix], 0-based.
    size : int
        Width of a cutout; odd.

    Returns
    -------
    NDArray[float32], shape (n, 4, size, size)
        In the order of ``PLANES``; data units, the score in sigma. NaN off the frame, where an
        image has no data, and where the difference is masked.

    Raises
    ------
    ValueError
        If the planes differ in shape.
    """
    planes, absent = planes_and_gaps(science, template, subtraction)
    triplets = np.empty((len(x), len(planes), size, size), dtype=np.float32)
    for i, (cx, cy) in enumerate(zip(x, y, strict=True)):
        for j, (plane, bad) in enumerate(zip(planes, absent, strict=True)):
            triplets[i, j] = cut_out(plane, float(cx), float(cy), size=size, bad=bad)
    return triplets


def planes_and_gaps(
    science: Image, template: Image, subtraction: DifferenceProducts
) -> tuple[list[FloatArray], list[NDArray[np.bool_]]]:
    """The whole planes in the order of ``PLANES``, and where each has nothing to look at.

    Raises
    ------
    ValueError
        If the planes differ in shape.
    """
    planes = [science.data, template.data, subtraction.difference, subtraction.score]
    if len({plane.shape for plane in planes}) != 1:
        msg = f"science, template, subtraction: shapes differ: {[p.shape for p in planes]}"
        raise ValueError(msg)
    absent = [is_bad(image.mask, MaskPlane.NO_DATA) for image in (science, template)]
    # a saturated core can be looked at in a frame; its difference means nothing
    absent += [is_bad(subtraction.mask, UNUSABLE)] * 2
    return planes, absent


def stack_planes(science: Image, template: Image, subtraction: DifferenceProducts) -> FloatArray:
    """The whole planes (4, ny, nx) in the order of ``PLANES``, NaN where there is nothing."""
    pairs = zip(*planes_and_gaps(science, template, subtraction), strict=True)
    return np.stack([np.where(gap, np.float32(np.nan), plane) for plane, gap in pairs])
