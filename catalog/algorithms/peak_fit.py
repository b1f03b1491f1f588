"""When a transient was brightest: rise and decline fitted to the fluxes of one band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid_site.imaging.errors import AlgorithmError

FloatArray = NDArray[np.float64]

#: Four parameters and two more points, or a chi2 says nothing.
MIN_POINTS = 6
#: The brightest point must stand out by so much [sigma].
MIN_SIGNIFICANCE = 5.0
#: Worse fits are none: the shape is not that of one rise and one decline.
MAX_CHI2 = 4.0
_N_CURVE = 80


@dataclass(frozen=True)
class PeakFit:
    """One band's rise and decline.

    Attributes
    ----------
    peak_mjd, peak_mjd_error : float
        Time of the maximum and its error [day].
    peak_flux, peak_flux_error : float
        Flux at the maximum [unit of the data].
    rise_days, decline_days : float
        From half of the maximum up to it, and down to half of it again [day].
    chi2_per_dof : float
        Reduced chi2; the errors are widened by its root where it is above 1.
    n_points : int
        Points that were fitted.
    curve : tuple of (float, float)
        The fit as (MJD, flux) between the first and the last point.
    """

    peak_mjd: float
    peak_mjd_error: float
    peak_flux: float
    peak_flux_error: float
    rise_days: float
    decline_days: float
    chi2_per_dof: float
    n_points: int
    curve: tuple[tuple[float, float], ...]


def fit_peak(mjd: ArrayLike, flux: ArrayLike, flux_error: ArrayLike) -> PeakFit:
    """Fit one rise and one decline to difference fluxes.

    Parameters
    ----------
    mjd : array_like, shape (n,)
        Times [day], in any order.
    flux, flux_error : array_like, shape (n,)
        Difference fluxes on one scale and their errors (positive), limits included as what they
        measured.

    Returns
    -------
    PeakFit

    Raises
    ------
    AlgorithmError
        If there are fewer than 6 epochs, none stands out by 5 sigma, the maximum is not between
        points that were measured before and after it, or the shape does not fit.

    Notes
    -----
    The function is that of the reference without its constant: a difference is zero before and
    after.

    References
    ----------
    .. [1] Bazin et al. 2009, A&A 499, 653, equation 1.
    """
    times, values, errors = (np.asarray(a, dtype=np.float64) for a in (mjd, flux, flux_error))
    order = np.argsort(times, kind="stable")
    times, values, errors = times[order], values[order], errors[order]
    _check_data(times, values, errors)
    found, covariance = _solve(times, values, errors)
    chi2 = float(np.sum(((values - _bazin(times, *found)) / errors) ** 2))
    reduced = chi2 / (len(times) - len(found))
    if not reduced <= MAX_CHI2:
        msg = "the points are not one rise and one decline"
        raise AlgorithmError(msg, chi2_per_dof=reduced)
    covariance = covariance * max(reduced, 1.0)
    peak, slopes = _peak(found), _gradients(found)
    time_error, flux_error_at_peak = np.sqrt(np.einsum("ij,jk,ik->i", slopes, covariance, slopes))
    _check_peak(times, values, errors, peak=peak, time_error=float(time_error))
    grid = np.linspace(times[0], times[-1], _N_CURVE)
    rise, decline = _half_widths(found, peak)
    return PeakFit(
        peak_mjd=float(peak[0]),
        peak_mjd_error=float(time_error),
        peak_flux=float(peak[1]),
        peak_flux_error=float(flux_error_at_peak),
        rise_days=rise,
        decline_days=decline,
        chi2_per_dof=reduced,
        n_points=len(times),
        curve=tuple((float(t), float(f)) for t, f in zip(grid, _bazin(grid, *found), strict=True)),
    )


def _check_data(times: FloatArray, values: FloatArray, errors: FloatArray) -> None:
    n_times = len(np.unique(np.round(times, 3)))
    if n_times < MIN_POINTS:
        msg = f"{n_times} of the {MIN_POINTS} epochs that it takes"
        raise AlgorithmError(msg, n_points=n_times, n_required=MIN_POINTS)
    best = float(np.max(values / errors))
    if best < MIN_SIGNIFICANCE:
        msg = f"no epoch stands out by {MIN_SIGNIFICANCE:g} sigma"
        raise AlgorithmError(msg, best_significance=best)


def _bazin(
    t: FloatArray, log_amplitude: float, t0: float, log_fall: float, log_rise: float
) -> FloatArray:
    """Equation 1 of the reference, its positive parameters as logarithms."""
    fall, rise = np.exp(log_fall), np.exp(log_rise)
    # logaddexp: the plain form overflows where the rise is quick and the time far away
    exponent = -(t - t0) / fall - np.logaddexp(0.0, -(t - t0) / rise)
    return np.asarray(np.exp(np.clip(log_amplitude + exponent, -700.0, 700.0)))


def _solve(
    times: FloatArray, values: FloatArray, errors: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Best of a few starts; the fall is slower than the rise, or there is no maximum."""
    from scipy.optimize import curve_fit

    top, span = int(np.argmax(values)), float(times[-1] - times[0])
    shortest = max(float(np.min(np.diff(np.unique(times)))), 0.05)
    low = [np.log(values[top]) - 5, times[0] - span, np.log(shortest / 5), np.log(shortest / 20)]
    high = [np.log(values[top]) + 5, times[-1] + span, np.log(20 * span), np.log(5 * span)]
    best: tuple[float, FloatArray, FloatArray] | None = None
    for fall, rise in ((span / 3, span / 10), (span, span / 5), (span / 8, span / 20)):
        start = np.clip(
            [np.log(2 * values[top]), times[top] - rise, np.log(fall), np.log(rise)],
            np.add(low, 1e-6),
            np.subtract(high, 1e-6),
        )
        try:
            found, covariance = curve_fit(
                _bazin,
                times,
                values,
                p0=start,
                sigma=errors,
                absolute_sigma=True,
                bounds=(low, high),
                max_nfev=2000,
            )
        except RuntimeError:
            continue
        chi2 = float(np.sum(((values - _bazin(times, *found)) / errors) ** 2))
        if (
            np.isfinite(covariance).all()
            and found[2] > found[3]
            and (best is None or chi2 < best[0])
        ):
            best = (chi2, found, covariance)
    if best is None:
        msg = "no rise and decline fits"
        raise AlgorithmError(msg, n_points=len(times))
    return best[1], best[2]


def _peak(found: FloatArray) -> FloatArray:
    """Time and flux of the maximum; where the derivative of the function is zero."""
    fall, rise = np.exp(found[2]), np.exp(found[3])
    at = found[1] + rise * np.log(max(fall / rise - 1.0, 1e-9))
    return np.array([at, float(_bazin(np.array([at]), *found)[0])])


def _gradients(found: FloatArray) -> FloatArray:
    """Derivatives of time and flux of the maximum by the parameters, shape (2, 4)."""
    columns = []
    for k in range(len(found)):
        step = np.zeros(len(found))
        step[k] = 1e-4 * max(1.0, np.exp(found[3])) if k == 1 else 1e-4
        columns.append((_peak(found + step) - _peak(found - step)) / (2 * step[k]))
    return np.array(columns).T


def _check_peak(
    times: FloatArray,
    values: FloatArray,
    errors: FloatArray,
    *,
    peak: FloatArray,
    time_error: float,
) -> None:
    """A maximum is one only where it was seen to rise and to fall."""
    before, after = times < peak[0], times > peak[0]
    for side, word in ((before, "rise"), (after, "decline")):
        is_lower = side & (values + 2 * errors < peak[1])
        if not is_lower.any():
            msg = f"no {word} was measured"
            raise AlgorithmError(msg, peak_mjd=float(peak[0]))
    if not time_error < 0.5 * (times[-1] - times[0]):
        msg = "the time of the maximum is not determined"
        raise AlgorithmError(msg, peak_mjd_error=time_error)


def _half_widths(found: FloatArray, peak: FloatArray) -> tuple[float, float]:
    """Days from half of the maximum up to it and down again, by bisection."""

    def reach(direction: float) -> float:
        low, high = 0.0, 1.0
        while float(_bazin(np.array([peak[0] + direction * high]), *found)[0]) > peak[1] / 2:
            low, high = high, 2 * high
        for _ in range(60):
            middle = (low + high) / 2
            is_above = float(_bazin(np.array([peak[0] + direction * middle]), *found)[0])
            low, high = (middle, high) if is_above > peak[1] / 2 else (low, middle)
        return float((low + high) / 2)

    return reach(-1.0), reach(1.0)
