"""Least squares behind the zero point: clipped, with intrinsic scatter, colour and place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from astrid_site.imaging.errors import AlgorithmError

Float64 = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MIN_STARS = 5
#: Stars, and range of their colours from the 5th to the 95th percentile, that a colour term needs.
MIN_COLOR_STARS = 20
MIN_COLOR_RANGE = 0.4
#: Stars, and their spread in units of the half frame, that a trend needs.
MIN_TREND_STARS = 30
_MIN_SPREAD = 0.3
#: A trend that stands out by less is reported and left alone.
TREND_SIGMA = 4.0
#: Variance that a normal distribution keeps when cut at three sigma.
_CLIPPED_VARIANCE = 0.9733
_LEAST_SCATTER = 1e-4
_ROUNDS = 12


@dataclass(frozen=True)
class ColorTerm:
    """Zero point against colour.

    Attributes
    ----------
    slope, error : float
        Change of the zero point per magnitude of colour, and its standard error.
    reference : float
        Colour for which the zero point holds [mag].
    """

    slope: float
    error: float
    reference: float


@dataclass(frozen=True)
class SpatialTrend:
    """Zero point against place.

    Attributes
    ----------
    along_x, along_y : float
        Change from the middle of the frame to its right and its upper edge [mag].
    error_x, error_y : float
        Their standard errors [mag].
    significance : float
        Of both together, as sigma of a normal distribution.
    is_applied : bool
        Whether it is in the fit, and to be taken out of the frame.
    """

    along_x: float
    along_y: float
    error_x: float
    error_y: float
    significance: float
    is_applied: bool


@dataclass(frozen=True)
class ZeroPointStars:
    """Zero points that single stars give, with error, colour and place; arrays of shape (n,)."""

    offset: Float64
    error: Float64
    color: Float64 | None = None
    place: tuple[Float64, Float64] | None = None

    def select(self, used: BoolArray) -> ZeroPointStars:
        """Some of the stars."""
        color = None if self.color is None else self.color[used]
        place = None if self.place is None else (self.place[0][used], self.place[1][used])
        return ZeroPointStars(self.offset[used], self.error[used], color, place)


@dataclass(frozen=True)
class ModelFit:
    """What ``fit_model`` finds; see ``ZeroPoint``."""

    value: float
    error: float
    n_stars: int
    n_clipped: int
    sigma_int: float
    color: ColorTerm | None
    trend: SpatialTrend | None


@dataclass(frozen=True)
class _Solution:
    """Coefficients with their covariance, the stars kept and their intrinsic scatter."""

    beta: Float64
    covariance: Float64
    kept: BoolArray
    sigma_int: float


def fit_model(stars: ZeroPointStars, *, clip_sigma: float) -> ModelFit:
    """Fit zero point, colour term and trend together, as far as the stars allow.

    Parameters
    ----------
    stars : ZeroPointStars
        Usable stars.
    clip_sigma : float
        Stars farther from the fit are left out.

    Returns
    -------
    ModelFit

    Raises
    ------
    AlgorithmError
        If fewer than 5 stars are left; carries ``n_stars`` and ``n_required``.
    """
    require_stars(stars.offset.size)
    colors = _usable_colors(stars)
    if colors is not None:
        stars = stars.select(np.isfinite(colors))
    columns = [np.ones(stars.offset.size)]
    reference = 0.0
    if colors is not None and stars.color is not None:
        reference = float(np.median(stars.color))
        columns.append(stars.color - reference)
    plain = np.column_stack(columns)
    n_terms, solution, trend = plain.shape[1], None, None
    if stars.place is not None and _covers_frame(stars.place):
        solution = _solve(stars, np.column_stack([plain, *stars.place]), clip_sigma=clip_sigma)
        trend = _trend(solution, n_terms)
    if solution is None or trend is None or not trend.is_applied:
        solution = _solve(stars, plain, clip_sigma=clip_sigma)
    error = np.sqrt(np.diag(solution.covariance))
    color = None
    if colors is not None:
        color = ColorTerm(float(solution.beta[1]), float(error[1]), reference)
    n_kept = int(solution.kept.sum())
    return ModelFit(
        value=float(solution.beta[0]),
        error=float(error[0]),
        n_stars=n_kept,
        n_clipped=stars.offset.size - n_kept,
        sigma_int=solution.sigma_int,
        color=color,
        trend=trend,
    )


def require_stars(n_stars: int) -> None:
    """Refuse a zero point from fewer than five stars."""
    if n_stars < MIN_STARS:
        msg = f"too few stars for a zero point: {n_stars}, and {MIN_STARS} are needed"
        raise AlgorithmError(msg, n_stars=n_stars, n_required=MIN_STARS)


def _usable_colors(stars: ZeroPointStars) -> Float64 | None:
    """The colours where they are enough, and different enough, for a term of their own."""
    if stars.color is None:
        return None
    known = stars.color[np.isfinite(stars.color)]
    if known.size < MIN_COLOR_STARS:
        return None
    blue, red = np.percentile(known, [5.0, 95.0])
    return stars.color if red - blue >= MIN_COLOR_RANGE else None


def _covers_frame(place: tuple[Float64, Float64]) -> bool:
    """Whether the stars are enough and spread enough to tell a slope from an offset."""
    spread = min(float(part.std()) for part in place) if place[0].size else 0.0
    return place[0].size >= MIN_TREND_STARS and spread >= _MIN_SPREAD


def _solve(stars: ZeroPointStars, design: Float64, *, clip_sigma: float) -> _Solution:
    """Weighted least squares with the intrinsic scatter, outliers left out, until it settles."""
    beta = _robust_start(stars.offset, design)
    left = stars.offset - design @ beta
    scatter = 1.4826 * float(np.median(np.abs(left)))
    kept = np.abs(left) < clip_sigma * np.hypot(stars.error, max(scatter, 1e-3))
    for _ in range(_ROUNDS):
        require_stars(int(kept.sum()))
        n_free = max(int(kept.sum()) - design.shape[1], 1)
        sigma_int = _intrinsic_scatter(left[kept], stars.error[kept], n_free=n_free)
        width = np.hypot(stars.error, max(sigma_int, _LEAST_SCATTER))
        beta, covariance = _weighted(stars.offset[kept], design[kept], width[kept])
        left = stars.offset - design @ beta
        fresh = np.abs(left) < clip_sigma * width
        if np.array_equal(fresh, kept):
            break
        kept = fresh
    require_stars(int(kept.sum()))
    return _Solution(beta, covariance, kept, sigma_int)


def _robust_start(offset: Float64, design: Float64) -> Float64:
    """Coefficients of least absolute deviation, which outliers do not move."""
    centre = float(np.median(offset))
    beta: Float64 = np.zeros(design.shape[1])
    beta[0] = centre
    for _ in range(15):
        weight = 1.0 / np.maximum(np.abs(offset - design @ beta), 1e-3)
        root = np.sqrt(weight)
        found = np.linalg.lstsq(design * root[:, None], offset * root, rcond=None)[0]
        beta = found.astype(np.float64)
    return beta


def _weighted(offset: Float64, design: Float64, width: Float64) -> tuple[Float64, Float64]:
    """Coefficients and their covariance."""
    scaled = design / width[:, None]
    covariance = np.linalg.pinv(scaled.T @ scaled)
    return np.asarray(covariance @ (scaled.T @ (offset / width))), np.asarray(covariance)


def _intrinsic_scatter(left: Float64, error: Float64, *, n_free: int) -> float:
    """The s that gives ``left / sqrt(error^2 + s^2)`` the chi2 of a clipped normal deviate."""
    wanted = _CLIPPED_VARIANCE * n_free
    low, high = 0.0, float(np.abs(left).max() * np.sqrt(left.size)) + 1e-12
    if float((left**2 / error**2).sum()) <= wanted:
        return 0.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        is_small = float((left**2 / (error**2 + middle**2)).sum()) > wanted
        low, high = (middle, high) if is_small else (low, middle)
    return high


def _trend(solution: _Solution, n_terms: int) -> SpatialTrend:
    """The slopes with their significance: chi2 of two degrees of freedom."""
    slopes = solution.beta[n_terms:]
    covariance = solution.covariance[n_terms:, n_terms:]
    chi2 = float(slopes @ np.linalg.pinv(covariance) @ slopes)
    # as scipy.stats says it, which takes a third of a second to load
    significance = float(-special.ndtri(max(np.exp(-0.5 * chi2), 1e-300) / 2.0))
    error = np.sqrt(np.diag(covariance))
    return SpatialTrend(
        float(slopes[0]),
        float(slopes[1]),
        float(error[0]),
        float(error[1]),
        significance,
        significance >= TREND_SIGMA,
    )
