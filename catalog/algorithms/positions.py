"""Where an object is, from the positions of its detections."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.algorithms.association import POSITION_FLOOR_ARCSEC

Values = NDArray[np.float64]


@dataclass(frozen=True)
class MeanPosition:
    """Where an object is.

    Attributes
    ----------
    ra, dec : float
        Weighted mean, ICRS degrees.
    error_arcsec : float
        Standard error per axis [arcsec].
    """

    ra: float
    dec: float
    error_arcsec: float


def mean_position(ra: Values, dec: Values, *, error_arcsec: Values) -> MeanPosition:
    """Weighted mean position of detections.

    Parameters
    ----------
    ra, dec : NDArray[float64], shape (n,)
        Positions, ICRS degrees; n at least 1, all within a degree or so of each other.
    error_arcsec : NDArray[float64], shape (n,)
        Standard errors per axis [arcsec], not negative; 0.1 arcsec is added in quadrature.

    Returns
    -------
    MeanPosition
        Exact at the poles and across RA 0: averaged as unit vectors.

    Raises
    ------
    ValueError
        If there is no position or the lengths differ.
    """
    if len(ra) == 0 or not ra.shape == dec.shape == error_arcsec.shape:
        msg = f"ra, dec, error_arcsec: need one length above 0, got {ra.shape}, {dec.shape}"
        raise ValueError(msg)
    weight = 1.0 / (error_arcsec**2 + POSITION_FLOOR_ARCSEC**2)
    lon, lat = np.radians(ra), np.radians(dec)
    vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    centre = (weight * vectors).sum(axis=1)
    centre /= np.linalg.norm(centre)
    mean_lon = math.atan2(centre[1], centre[0])
    mean_lat = math.atan2(centre[2], math.hypot(centre[0], centre[1]))
    return MeanPosition(
        ra=math.degrees(mean_lon) % 360.0,
        dec=math.degrees(mean_lat),
        error_arcsec=float(weight.sum() ** -0.5),
    )
