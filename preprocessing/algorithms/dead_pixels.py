"""Pixels that read far below the sky, which no light can make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import MaskArray, MaskPlane, is_bad
from preprocessing.algorithms.row_strips import row_strips

FloatArray = NDArray[np.float32]

_SIGMA = 8.0


def mask_dead_pixels(
    data: FloatArray, noise: FloatArray, *, mask: MaskArray, sigma: float = _SIGMA
) -> MaskArray:
    """Flag pixels that lie far below the sky: dead columns, traps, uncorrected dark spots.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Background-subtracted frame.
    noise : NDArray[float32], shape (ny, nx)
        Standard deviation of a sky pixel, same units.
    mask : NDArray[uint16], shape (ny, nx)
        ``MaskPlane`` bits known so far.
    sigma : float
        Depth from which a pixel is dead [sigma]; a Gaussian sky of 10^8 pixels reaches 6.

    Returns
    -------
    NDArray[uint16], shape (ny, nx)
        The mask with ``BAD_PIXEL`` added.

    Notes
    -----
    Unmasked, one dead column becomes hundreds of fading candidates, and warping the frame
    spreads it over the pixels beside it.
    """
    flagged = mask.copy()
    for rows in row_strips(mask.shape):
        dead = data[rows] < np.float32(-sigma) * noise[rows]
        if dead.any():
            dead &= (noise[rows] > 0) & ~is_bad(mask[rows])
            flagged[rows][dead] |= np.uint16(MaskPlane.BAD_PIXEL)
    return flagged
