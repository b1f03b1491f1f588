"""What a light curve says at a glance: when, how bright, where, and whether it moves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.algorithms.association import POSITION_FLOOR_ARCSEC

Values = NDArray[np.float64]

DETECTION_SIGMA = 5.0
#: Improvement of chi2 by letting the position move (two parameters) that is no accident.
_MOTION_CHI2 = 25.0


@dataclass(frozen=True)
class LightCurveSummary:
    """Summary of the forced fluxes of one object.

    Attributes
    ----------
    n_points : int
        Epochs with a measured flux.
    n_detections : int
        Of these, with |flux| at least 5 sigma.
    first_detection_mjd, last_detection_mjd : float or None
        Span of the detections [d]; None without one.
    peak_flux, peak_flux_error, peak_mjd : float or None
        The most significant point with the largest |flux| among the detections.
    chi2_constant : float or None
        Reduced chi2 against a constant flux; None with fewer than two points.
    """

    n_points: int
    n_detections: int
    first_detection_mjd: float | None
    last_detection_mjd: float | None
    peak_flux: float | None
    peak_flux_error: float | None
    peak_mjd: float | None
    chi2_constant: float | None


@dataclass(frozen=True)
class MeanPosition:
    """Where an object is, and whether it stays there.

    Attributes
    ----------
    ra, dec : float
        Weighted mean, ICRS degrees.
    error_arcsec : float
        Standard error per axis [arcsec].
    speed_arcsec_per_day : float or None
        Fitted motion; None where the positions do not span time.
    is_moving : bool
        Whether a moving position fits better by chi2 > 25; a hint, not a verdict.
    """

    ra: float
    dec: float
    error_arcsec: float
    speed_arcsec_per_day: float | None
    is_moving: bool


def summarize_light_curve(mjd: Values, flux: Values, flux_error: Values) -> LightCurveSummary:
    """Summarise forced fluxes of one band and zero point.

    Parameters
    ----------
    mjd, flux, flux_error : NDArray[float64], shape (n,)
        Times [d], fluxes and errors in one unit; rows with a non-finite flux or an error that is
        not positive are masked epochs and do not count.

    Returns
    -------
    LightCurveSummary

    Raises
    ------
    ValueError
        If the lengths differ.
    """
    if not mjd.shape == flux.shape == flux_error.shape:
        msg = f"mjd, flux, flux_error: shapes differ: {mjd.shape}, {flux.shape}, {flux_error.shape}"
        raise ValueError(msg)
    good = np.isfinite(flux) & np.isfinite(mjd) & (flux_error > 0)
    mjd, flux, flux_error = mjd[good], flux[good], flux_error[good]
    detected = np.abs(flux) >= DETECTION_SIGMA * flux_error
    seen = mjd[detected]
    peak = _peak_row(flux, detected)
    return LightCurveSummary(
        n_points=len(flux),
        n_detections=int(detected.sum()),
        first_detection_mjd=float(seen.min()) if len(seen) else None,
        last_detection_mjd=float(seen.max()) if len(seen) else None,
        peak_flux=None if peak is None else float(flux[peak]),
        peak_flux_error=None if peak is None else float(flux_error[peak]),
        peak_mjd=None if peak is None else float(mjd[peak]),
        chi2_constant=_chi2_constant(flux, flux_error),
    )


def _peak_row(flux: Values, detected: NDArray[np.bool_]) -> int | None:
    """Row of the largest |flux| among detections."""
    if not detected.any():
        return None
    return int(np.where(detected, np.abs(flux), -1.0).argmax())


def _chi2_constant(flux: Values, flux_error: Values) -> float | None:
    """Reduced chi2 of fluxes against their weighted mean."""
    if len(flux) < 2:
        return None
    weight = flux_error**-2.0
    mean = float((weight * flux).sum() / weight.sum())
    return float((weight * (flux - mean) ** 2).sum() / (len(flux) - 1))


def mean_position(ra: Values, dec: Values, *, error_arcsec: Values, mjd: Values) -> MeanPosition:
    """Weighted mean position of detections, and whether they move across it.

    Parameters
    ----------
    ra, dec : NDArray[float64], shape (n,)
        Positions, ICRS degrees; n at least 1, all within a degree or so of each other.
    error_arcsec : NDArray[float64], shape (n,)
        Standard errors per axis [arcsec], not negative; 0.1 arcsec is added in quadrature.
    mjd : NDArray[float64], shape (n,)
        Times [d].

    Returns
    -------
    MeanPosition
        Exact at the poles and across RA 0: averaged as unit vectors.

    Raises
    ------
    ValueError
        If there is no position or the lengths differ.
    """
    if len(ra) == 0 or not ra.shape == dec.shape == error_arcsec.shape == mjd.shape:
        msg = f"ra, dec, error_arcsec, mjd: need one length above 0, got {ra.shape}, {dec.shape}"
        raise ValueError(msg)
    weight = 1.0 / (error_arcsec**2 + POSITION_FLOOR_ARCSEC**2)
    lon, lat = np.radians(ra), np.radians(dec)
    vectors = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    centre = (weight * vectors).sum(axis=1)
    centre /= np.linalg.norm(centre)
    mean_lon = math.atan2(centre[1], centre[0])
    mean_lat = math.atan2(centre[2], math.hypot(centre[0], centre[1]))
    offsets = _tangent_offsets(vectors, mean_lon, mean_lat)
    speed, gain = _fit_motion(offsets, mjd, weight)
    return MeanPosition(
        ra=math.degrees(mean_lon) % 360.0,
        dec=math.degrees(mean_lat),
        error_arcsec=float(weight.sum() ** -0.5),
        speed_arcsec_per_day=speed,
        is_moving=gain > _MOTION_CHI2,
    )


def _tangent_offsets(vectors: Values, lon: float, lat: float) -> Values:
    """Offsets east and north from a centre [arcsec], shape (2, n)."""
    east = np.array([-math.sin(lon), math.cos(lon), 0.0])
    north = np.array(
        [-math.sin(lat) * math.cos(lon), -math.sin(lat) * math.sin(lon), math.cos(lat)]
    )
    return np.asarray(np.degrees(np.stack([east, north]) @ vectors) * 3600.0, dtype=np.float64)


def _fit_motion(offsets: Values, mjd: Values, weight: Values) -> tuple[float | None, float]:
    """Speed [arcsec / d] of a straight line through offsets, and its gain in chi2."""
    time = mjd - (weight * mjd).sum() / weight.sum()
    spread = float((weight * time**2).sum())
    # a thousandth of a second apart is the same exposure
    if len(mjd) < 2 or float(np.ptp(mjd)) < 1e-8:
        return None, 0.0
    velocity = (weight * time * offsets).sum(axis=1) / spread
    return float(np.hypot(*velocity)), float((velocity**2).sum() * spread)
