"""Which galaxy a transient may be in, with a probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

#: A galaxy's light does not reach farther than so many of its radii.
MAX_DLR = 5.0
_SLOPE = 0.33


@dataclass(frozen=True)
class HostOdds:
    """Probabilities of n galaxies, and of none of them; NaN for galaxies without a magnitude.

    Attributes
    ----------
    chance : NDArray[float64], shape (n,)
        That one so bright lies so near by chance.
    probability : NDArray[float64], shape (n,)
        That it is the host.
    none : float
        That the host is none of them.
    """

    chance: Float64
    probability: Float64
    none: float


def directional_radius(
    offset_arcsec: Float64,
    bearing_deg: Float64,
    *,
    radius_arcsec: Float64,
    axis_ratio: Float64,
    angle_deg: Float64,
) -> Float64:
    """Distance from galaxies in units of their radius towards the transient.

    Parameters
    ----------
    offset_arcsec, bearing_deg : NDArray[float64], shape (n,)
        Separation, and position angle from the galaxy to the transient, east of north.
    radius_arcsec, axis_ratio, angle_deg : NDArray[float64], shape (n,)
        Semi-major axis, minor over major, position angle of the major axis east of north. Without
        a ratio or an angle a galaxy counts as round.

    Returns
    -------
    NDArray[float64], shape (n,)
        d_DLR; NaN without a radius.

    References
    ----------
    .. [1] Gupta et al. 2016, AJ 152, 154, eq. 2 and 3.
    """
    round_ = ~(np.isfinite(axis_ratio) & np.isfinite(angle_deg) & (axis_ratio > 0))
    ratio = np.where(round_, 1.0, np.clip(axis_ratio, 0.05, 1.0))
    turn = np.radians(bearing_deg - np.where(round_, 0.0, angle_deg))
    reach = radius_arcsec / np.hypot(np.sin(turn) / ratio, np.cos(turn))
    return np.asarray(offset_arcsec / np.where(reach > 0, reach, np.nan), dtype=np.float64)


def chance_coincidence(
    offset_arcsec: Float64, magnitude: Float64, *, radius_arcsec: Float64
) -> Float64:
    """Probability that a galaxy so bright or brighter lies so near to a place by chance.

    Parameters
    ----------
    offset_arcsec, magnitude, radius_arcsec : NDArray[float64], shape (n,)
        Separation, r magnitude [AB], half-light radius (NaN counts as a point).

    Returns
    -------
    NDArray[float64], shape (n,)
        NaN without a magnitude.

    References
    ----------
    .. [1] Bloom, Kulkarni & Djorgovski 2002, AJ 123, 1111, eq. 1 to 3; number counts as in
       Berger 2010, ApJ 722, 1946, eq. 1.
    """
    density = 10.0 ** (_SLOPE * (magnitude - 24.0) - 2.44) / (_SLOPE * np.log(10.0))
    radius = np.nan_to_num(radius_arcsec)
    area = np.pi * (offset_arcsec**2 + 4.0 * radius**2)
    return np.asarray(-np.expm1(-area * density), dtype=np.float64)


def host_odds(chance: Float64) -> HostOdds:
    """Probability of each galaxy to be the host, given how likely each is there by chance.

    Parameters
    ----------
    chance : NDArray[float64], shape (n,)
        Chance coincidences; NaN takes no part.

    Returns
    -------
    HostOdds
        Of all candidates and of none they sum to 1.

    References
    ----------
    .. [1] Bloom, Kulkarni & Djorgovski 2002, AJ 123, 1111: galaxy i is the host and all others
       lie there by chance, (1 - P_i) prod P_j; all of them do, prod P_j.
    """
    known = np.isfinite(chance)
    p = np.clip(chance[known], 1e-12, 1.0 - 1e-12)
    weight = (1.0 - p) / p
    total = 1.0 + float(weight.sum())
    probability = np.full(len(chance), np.nan)
    probability[known] = weight / total
    return HostOdds(chance=chance, probability=probability, none=1.0 / total)
