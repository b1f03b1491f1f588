"""How good a subtraction is: residuals at bright stars, noise truth, coverage; and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from differencing.algorithms.score import (
    ModelError,
    NoiseTruth,
    ScoreTruth,
    robust_width,
    row_batches,
)
from differencing.algorithms.subtraction import Metric, Stars, Subtraction, Verdict
from differencing.algorithms.tiles import Filtered

Float64 = NDArray[np.float64]

#: Half width of the pixels compared at a star; chi2 counts those within this radius.
_RADIUS = 4
_MIN_SNR = 50.0
_MAX_STARS = 300
_MIN_STARS = 3
#: Errors assumed where too few stars measure them.
_DEFAULT_ERROR = ModelError(flux_fraction=0.004, shift_pix=0.01)
#: The best photometry between two frames: scintillation and flat fields leave this much.
_LEAST_ERROR = ModelError(flux_fraction=0.001, shift_pix=0.002)
_DIPOLE_SIGMA = 5.0


@dataclass(frozen=True)
class StarResiduals:
    """What is left of bright unsaturated stars; arrays of shape (n,).

    Attributes
    ----------
    chi2 : NDArray[float64]
        Mean squared pull of the difference within 4 pixels, propagated variance.
    flux, flux_error : NDArray[float64]
        Residual flux over the star's flux, and its error.
    shift_x, shift_y, shift_error : NDArray[float64]
        Displacement between the two images that the residual looks like, and its error [pix].
    """

    chi2: Float64
    flux: Float64
    flux_error: Float64
    shift_x: Float64
    shift_y: Float64
    shift_error: Float64

    @property
    def dipole_fraction(self) -> float:
        """Share of the stars whose displacement is significant at 5 sigma."""
        if len(self.chi2) == 0:
            return 0.0
        size = np.hypot(self.shift_x, self.shift_y)
        return float(np.mean((size > _DIPOLE_SIGMA * self.shift_error) & (size > 0.02)))


def measure_residuals(filtered: Filtered, stars: Stars) -> StarResiduals:
    """Fit flux and displacement to the difference at bright unsaturated stars.

    The residual of a star of flux F that was subtracted with an error e and a displacement d is
    ``F (e P + d . grad P)`` to first order, with P the PSF of the difference.
    """
    x, y = _bright_positions(filtered, stars)
    rows = [_fit_star(filtered, int(column), int(row)) for column, row in zip(x, y, strict=True)]
    table = np.array([row for row in rows if row is not None]).reshape(-1, 6)
    return StarResiduals(*table.T)


def _bright_positions(
    filtered: Filtered, stars: Stars
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of the brightest clean stars whose surroundings are good."""
    ny, nx = filtered.difference.shape
    x, y = np.rint(stars.x).astype(np.int64), np.rint(stars.y).astype(np.int64)
    reach = _RADIUS + 1
    inside = (x >= reach) & (x < nx - reach) & (y >= reach) & (y < ny - reach)
    usable = np.flatnonzero(inside & stars.is_star)
    snr = np.zeros(len(x))
    noise = np.maximum(filtered.signal_variance[y[usable], x[usable]], 1e-30)
    snr[usable] = filtered.static_signal[y[usable], x[usable]] / np.sqrt(noise)
    bright = usable[snr[usable] > _MIN_SNR]
    bright = bright[np.argsort(-snr[bright], kind="stable")]
    clean = [
        index
        for index in bright
        if not filtered.bad[
            y[index] - reach : y[index] + reach + 1, x[index] - reach : x[index] + reach + 1
        ].any()
    ][:_MAX_STARS]
    return x[clean], y[clean]


def measure_stars_left(filtered: Filtered, stars: Stars) -> float | None:
    """Share of the bright stars of which most of the light is left in the difference.

    The residuals are judged at what was subtracted. Where that is next to nothing, because the
    two images show different stars, only what each of them shows by itself can tell.

    Returns
    -------
    float or None
        Share of the stars of S/N > 50 with over half of their matched-filter signal left, in the
        image in which it is less; None with fewer than 3 such stars in both.

    Notes
    -----
    Sources that appeared are left of the science image's stars, those that vanished of the
    reference's. Neither says anything of the match, and swapping the images only swaps the two:
    two skies differ in both.
    """
    shares = _science_stars_left(filtered, stars), _reference_stars_left(filtered)
    return min((share for share in shares if share is not None), default=None)


def _science_stars_left(filtered: Filtered, stars: Stars) -> float | None:
    """Share of the science image's bright clean stars that are left; None with too few."""
    ny, nx = filtered.difference.shape
    x, y = np.rint(stars.x).astype(np.int64), np.rint(stars.y).astype(np.int64)
    clear = (x >= 0) & (x < nx) & (y >= 0) & (y < ny) & stars.is_star
    bright = np.flatnonzero(clear & (stars.flux > _MIN_SNR * stars.flux_error))
    bright = bright[~filtered.bad[y[bright], x[bright]]]
    bright = bright[np.argsort(-stars.flux[bright], kind="stable")][:_MAX_STARS]
    if len(bright) < _MIN_STARS:
        return None
    psf = filtered.psf.at(stars.x[bright], stars.y[bright]).astype(np.float64)
    whole = stars.flux[bright] * np.square(psf).sum(axis=(1, 2))
    return float(np.mean(np.abs(filtered.signal[y[bright], x[bright]]) > 0.5 * whole))


def _reference_stars_left(filtered: Filtered) -> float | None:
    """Share of the bright peaks of what was subtracted that are left; None with too few."""
    light = filtered.static_signal
    y, x = _bright_pixels(filtered)
    ny, nx = light.shape
    reach = max(1, round(filtered.psf.fwhm_pix))
    inside = (x >= reach) & (x < nx - reach) & (y >= reach) & (y < ny - reach)
    y, x = y[inside], x[inside]
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            is_peak = light[y, x] >= light[y + dy, x + dx]
            y, x = y[is_peak], x[is_peak]
    brightest = np.argsort(-light[y, x], kind="stable")[:_MAX_STARS]
    if len(brightest) < _MIN_STARS:
        return None
    y, x = y[brightest], x[brightest]
    return float(np.mean(np.abs(filtered.signal[y, x]) > 0.5 * light[y, x]))


def _bright_pixels(filtered: Filtered) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the good pixels at which what was subtracted is bright."""
    found = []
    for rows in row_batches(len(filtered.bad)):
        light, variance = filtered.static_signal[rows], filtered.signal_variance[rows]
        is_bright = np.square(light) > np.float32(_MIN_SNR**2) * variance
        is_bright &= (light > 0) & (variance > 0) & ~filtered.bad[rows]
        found.append(np.flatnonzero(is_bright) + rows.start * light.shape[1])
    y, x = np.divmod(np.concatenate(found), filtered.bad.shape[1])
    return y, x


def _fit_star(filtered: Filtered, x: int, y: int) -> tuple[float, ...] | None:
    """chi2, flux, flux error, shift x, shift y, shift error of one star."""
    box = (slice(y - _RADIUS, y + _RADIUS + 1), slice(x - _RADIUS, x + _RADIUS + 1))
    difference = filtered.difference[box].astype(np.float64)
    variance = filtered.variance[box].astype(np.float64)
    psf = filtered.psf.at(float(x), float(y))[0].astype(np.float64)
    if (variance <= 0).any():
        return None
    flux = float(filtered.static_signal[y, x]) / float(np.square(psf).sum())
    middle = psf.shape[0] // 2
    cut = (slice(middle - _RADIUS, middle + _RADIUS + 1),) * 2
    slope_y, slope_x = np.gradient(psf)
    design = flux * np.stack([part[cut].ravel() for part in (psf, slope_x, slope_y)])
    weight = 1.0 / variance.ravel()
    covariance = np.linalg.pinv((design * weight) @ design.T)
    solution = covariance @ (design @ (weight * difference.ravel()))
    offset = np.arange(-_RADIUS, _RADIUS + 1)
    disc = offset[:, None] ** 2 + offset[None, :] ** 2 <= _RADIUS**2
    chi2 = float(np.mean(difference[disc] ** 2 / variance[disc]))
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    shift_error = float(np.hypot(error[1], error[2]) / np.sqrt(2.0))
    return (chi2, solution[0], error[0], solution[1], solution[2], shift_error)


def estimate_model_error(residuals: StarResiduals) -> ModelError:
    """Scatter of the stars' residual flux and displacement beyond their noise."""
    if len(residuals.chi2) < _MIN_STARS:
        return _DEFAULT_ERROR
    flux = _excess(residuals.flux, residuals.flux_error)
    shift = max(
        _excess(residuals.shift_x, residuals.shift_error),
        _excess(residuals.shift_y, residuals.shift_error),
    )
    return ModelError(
        flux_fraction=max(flux, _LEAST_ERROR.flux_fraction),
        shift_pix=max(shift, _LEAST_ERROR.shift_pix),
    )


def _excess(values: Float64, errors: Float64) -> float:
    """Intrinsic scatter: the s that gives ``values / sqrt(errors^2 + s^2)`` unit width."""
    low, high = 0.0, float(np.abs(values).max()) + 1e-12
    if robust_width(values / np.maximum(errors, 1e-30)) <= 1.0:
        return 0.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        too_small = robust_width(values / np.sqrt(errors**2 + middle**2)) > 1.0
        low, high = (middle, high) if too_small else (low, middle)
    return high


@dataclass(frozen=True)
class Limit:
    """Ranges of one number: inside ``passing`` it passes, inside ``tolerable`` it downgrades.

    One that is optional is judged where it was measured.
    """

    name: str
    passing: tuple[float, float]
    tolerable: tuple[float, float]
    is_optional: bool = False


_INFINITY = float("inf")
#: What they mean: a pixel of a star of S/N 150, typical of those judged, has S/N 25, so that a
#: mismatch e leaves chi2 = 1 + (25 e)^2. A median of 2.5 is 5 % of the light left, 10 is 12 %: no
#: match. The upper quartile is judged and not the 90th percentile, which a few real variables
#: decide (5 of 70 stars in a simulated survey: 90 % at 4 to 17 where the match is good to 1 %).
LIMITS = (
    Limit("chi2_stars_median", (0.0, 2.5), (0.0, 10.0)),
    Limit("chi2_stars_p75", (0.0, 5.0), (0.0, _INFINITY)),
    Limit("model_flux_error", (0.0, 0.03), (0.0, 0.2)),
    Limit("model_shift_pix", (0.0, 0.1), (0.0, 0.5)),
    # 0 in every simulated and real pair that matches, over 0.9 in images of two skies
    Limit("stars_left", (0.0, 0.34), (0.0, 0.5), is_optional=True),
    Limit("pull_width_propagated", (0.9, 1.1), (0.5, 2.0)),
    # over every usable pixel, sources and all. Simulated surveys, sparse to crowded, with 20 to 80
    # transients per Mpix have widths of 0.99 to 1.01 and at most 1.2 % over 3 and 0.8 % over 5
    # sigma; real pairs that match 1.06, 1.2 % and 0.6 %; one with a PSF made of galaxies 1.23
    # and 5.8 %. Beyond the tolerable there is more residual than sky.
    Limit("score_width_all", (0.9, 1.1), (0.5, 1.5)),
    Limit("score_over_3_sigma", (0.0, 0.02), (0.0, 0.15)),
    Limit("score_over_5_sigma", (0.0, 0.015), (0.0, 0.1)),
    # a warped template correlates neighbours by 0.1 to 0.15 where it is not smoothed, a drizzled
    # image by more; the score is scaled to the sky it has
    Limit("lag1", (-0.2, 0.2), (-0.5, 0.5)),
    # a level of 0.2 of a pixel's noise lifts the score of blank sky by 1 where the PSF has 3 pixels
    # FWHM, which makes some seventy times as many false sources
    Limit("background_left", (0.0, 0.2), (0.0, 1.0), is_optional=True),
    Limit("dipole_fraction", (0.0, 0.2), (0.0, 0.5)),
    Limit("coverage", (0.8, 1.0), (0.15, 1.0)),
    Limit("n_blank", (500, _INFINITY), (0, _INFINITY)),
)
_OF_STARS = frozenset(
    (
        "chi2_stars_median",
        "chi2_stars_p75",
        "model_flux_error",
        "model_shift_pix",
        "dipole_fraction",
    )
)

#: Those that tell one matching from another.
_OF_MATCH = frozenset(("chi2_stars_median", "model_flux_error"))


def judge(metrics: dict[str, Metric]) -> tuple[Verdict, tuple[str, ...]]:
    """Verdict on a subtraction: the worst of its numbers, and why.

    Returns
    -------
    tuple
        "pass", "downgrade" or "fail", and a sentence for each number outside its passing range.
        A number that could not be measured is stated and downgrades; those of the stars are
        stated together.
    """
    verdict: Verdict = "pass"
    reasons: list[str] = []
    without_stars = all(metrics.get(name) is None for name in _OF_STARS)
    if without_stars:
        reasons.append(_no_star_to_judge_by(metrics))
        verdict = "downgrade"
    for limit in LIMITS:
        if without_stars and limit.name in _OF_STARS:
            continue
        value = metrics.get(limit.name)
        if limit.is_optional and value is None:
            continue
        if not isinstance(value, (int, float)):
            reasons.append(f"{limit.name} could not be measured")
            verdict = "downgrade" if verdict == "pass" else verdict
            continue
        if limit.passing[0] <= value <= limit.passing[1]:
            continue
        reasons.append(
            f"{limit.name} {value:.3g} is outside {limit.passing[0]:g} to {limit.passing[1]:g}"
        )
        tolerable = limit.tolerable[0] <= value <= limit.tolerable[1]
        verdict = "fail" if not tolerable or verdict == "fail" else "downgrade"
    return verdict, tuple(reasons)


def _no_star_to_judge_by(metrics: dict[str, Metric]) -> str:
    """What is said where no star told how well the images match, and what was taken instead."""
    flux, shift = metrics.get("assumed_flux_error"), metrics.get("assumed_shift_pix")
    if not isinstance(flux, float) or not isinstance(shift, float):
        return "no star to judge by"
    return (
        f"no star to judge by: errors of {100 * flux:.2g} % in brightness and {shift:.2g} pixels "
        "in position were assumed"
    )


def is_mismatched(subtraction: Subtraction) -> bool:
    """True if a difference fails, or leaves too much of half of the bright stars.

    Or if it scatters their brightness: a kernel that bends to the few stars that changed leaves
    little of half of them, and the others show it.
    """
    return subtraction.quality == "fail" or any(
        share > 1.0 for share in _misfit(subtraction).values()
    )


def is_better(second: Subtraction, first: Subtraction) -> bool:
    """True if another difference of the same pair leaves less of the bright stars."""
    if "fail" in (first.quality, second.quality):
        return second.quality != "fail"
    mine, other = _misfit(second), _misfit(first)
    return len(mine) == len(other) > 0 and sum(mine.values()) < sum(other.values())


def _misfit(subtraction: Subtraction) -> dict[str, float]:
    """What is left of the bright stars, in units of what may be left; empty if not measured."""
    shares = {}
    for limit in LIMITS:
        value = subtraction.metrics.get(limit.name)
        if limit.name in _OF_MATCH and isinstance(value, float):
            shares[limit.name] = value / limit.passing[1]
    return shares


def residual_metrics(residuals: StarResiduals, error: ModelError) -> dict[str, Metric]:
    """Numbers of the residuals at stars; None where there were too few stars.

    The errors that the score then takes are told apart from measured ones, by their names.
    """
    # one or two stars judge themselves (a saturated core, a galaxy), not the subtraction
    measured = len(residuals.chi2) >= _MIN_STARS
    return {
        "chi2_stars_median": float(np.median(residuals.chi2)) if measured else None,
        "chi2_stars_p75": float(np.percentile(residuals.chi2, 75)) if measured else None,
        "chi2_stars_p90": float(np.percentile(residuals.chi2, 90)) if measured else None,
        "n_residual_stars": len(residuals.chi2),
        "dipole_fraction": residuals.dipole_fraction if measured else None,
        "model_flux_error": error.flux_fraction if measured else None,
        "model_shift_pix": error.shift_pix if measured else None,
        "assumed_flux_error": None if measured else error.flux_fraction,
        "assumed_shift_pix": None if measured else error.shift_pix,
    }


def noise_metrics(noise: NoiseTruth, propagated: NoiseTruth) -> dict[str, Metric]:
    """The noise measured against the one propagated; None where too little sky was left.

    ``propagated`` is the noise before the difference was whitened.
    """
    measured = noise.n_blank > 0
    return {
        "pull_width_propagated": noise.pull_width if measured else None,
        "score_width_propagated": noise.score_width if measured else None,
        "score_scale": 1.0 / noise.score_width if measured and noise.score_width > 0 else None,
        "lag1": noise.lag1 if measured else None,
        "lag1_propagated": propagated.lag1 if propagated.n_blank > 0 else None,
        "n_blank": noise.n_blank,
    }


def score_metrics(truth: ScoreTruth) -> dict[str, Metric]:
    """The score as it is on every usable pixel; Gaussian noise has 0.27 % over 3 sigma."""
    return {
        "score_width_all": truth.width,
        "score_over_3_sigma": truth.over_3_sigma,
        "score_over_5_sigma": truth.over_5_sigma,
    }
