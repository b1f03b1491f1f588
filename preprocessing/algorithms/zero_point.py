"""Photometric zero point: from the header as recorded there, or against catalogue stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from preprocessing.algorithms.stars import StarList
from preprocessing.algorithms.zero_point_fit import (
    ColorTerm,
    SpatialTrend,
    ZeroPointStars,
    fit_model,
    require_stars,
)

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class ZeroPoint:
    """AB magnitude of one data unit of flux.

    Attributes
    ----------
    value : float or None
        Zero point [mag], of a star of the colour term's reference colour at the middle of the
        frame; None where nothing calibrates the frame.
    error : float or None
        Standard error [mag]; None where the source states none.
    source : str or None
        ``"header"``, ``"catalog"`` or None.
    n_stars : int
        Catalogue stars used; 0 for a header value.
    n_clipped : int
        Matched stars left out as outliers.
    sigma_int : float or None
        Scatter of the stars beyond their errors [mag]; None for a header value.
    color : ColorTerm or None
        How the zero point depends on colour; None where stars or colours were too few.
    trend : SpatialTrend or None
        How it depends on the place; None where stars were too few.
    """

    value: float | None
    error: float | None
    source: str | None
    n_stars: int
    n_clipped: int = 0
    sigma_int: float | None = None
    color: ColorTerm | None = None
    trend: SpatialTrend | None = None


@dataclass(frozen=True)
class CatalogStars:
    """Catalogue stars of one band; arrays of shape (n,).

    Attributes
    ----------
    ra, dec : NDArray[float64]
        ICRS positions [deg].
    magnitude : NDArray[float64]
        AB magnitudes in the band; NaN where there is none.
    magnitude_error : NDArray[float64] or None
        Their standard errors [mag]; None where the catalogue has none.
    color : NDArray[float64] or None
        Colours [mag], NaN where there is none; None without any.
    color_name : str
        What the colour is, e.g. ``"g-r"``.
    """

    ra: Float64
    dec: Float64
    magnitude: Float64
    magnitude_error: Float64 | None = None
    color: Float64 | None = None
    color_name: str = ""


def header_zero_point(image: Image) -> ZeroPoint:
    """The zero point that came with the image, recorded as the header's word."""
    value = image.zero_point
    if value is None or not np.isfinite(value):
        return ZeroPoint(None, None, None, 0)
    return ZeroPoint(float(value), None, "header", 0)


def fit_zero_point(
    flux: Float64,
    magnitude: Float64,
    *,
    flux_error: Float64,
    magnitude_error: Float64 | None = None,
    color: Float64 | None = None,
    place: tuple[Float64, Float64] | None = None,
    clip_sigma: float = 3.0,
) -> ZeroPoint:
    """Fit the zero point of one frame against catalogue magnitudes.

    Parameters
    ----------
    flux : NDArray[float64], shape (n,)
        Total fluxes of matched stars [data units]; those not positive are ignored.
    magnitude : NDArray[float64], shape (n,)
        AB magnitudes of the same stars.
    flux_error : NDArray[float64], shape (n,)
        Errors of the fluxes [data units].
    magnitude_error : NDArray[float64], shape (n,), optional
        Errors of the magnitudes [mag]; taken as 0 where absent or not finite.
    color : NDArray[float64], shape (n,), optional
        Colours [mag]. With at least 20 of them over 0.4 mag a colour term is fitted, to the stars
        that have one.
    place : tuple of NDArray[float64], optional
        Positions of the stars from -1 to 1 across the frame. With at least 30 stars spread over
        it a linear trend is measured, and kept in the fit where it stands out by 4 sigma.
    clip_sigma : float
        Stars farther than this many sigma from the fit are left out.

    Returns
    -------
    ZeroPoint
        Weighted least squares of ``magnitude + 2.5 log10(flux)``, with what it depends on.

    Raises
    ------
    AlgorithmError
        If fewer than 5 stars survive clipping; carries ``n_stars`` and ``n_required``.

    Notes
    -----
    Weights are ``1 / (error^2 + sigma_int^2)``, where the intrinsic scatter is what makes the
    reduced chi2 of the kept stars that of a clipped normal distribution. The reference colour is
    the median of the stars used, so that the zero point holds for what has no known colour.
    """
    usable = (flux > 0) & np.isfinite(magnitude) & np.isfinite(flux_error) & (flux_error > 0)
    safe = np.where(usable, flux, 1.0)
    error = 1.0857 * np.where(usable, flux_error, 1.0) / safe
    if magnitude_error is not None:
        error = np.hypot(error, np.where(np.isfinite(magnitude_error), magnitude_error, 0.0))
    stars = ZeroPointStars(magnitude + 2.5 * np.log10(safe), error, color, place)
    fit = fit_model(stars.select(usable), clip_sigma=clip_sigma)
    return ZeroPoint(
        fit.value,
        fit.error,
        "catalog",
        fit.n_stars,
        n_clipped=fit.n_clipped,
        sigma_int=fit.sigma_int,
        color=fit.color,
        trend=fit.trend,
    )


def calibrate_zero_point(
    image: Image, stars: StarList, catalog: CatalogStars, *, radius_arcsec: float = 2.0
) -> ZeroPoint:
    """Match the clean stars of a frame to a catalogue and fit its zero point.

    Parameters
    ----------
    image : Image
        Frame with world coordinates.
    stars : StarList
        Its sources; those with ``is_star`` are used.
    catalog : CatalogStars
        Reference stars around the frame.
    radius_arcsec : float
        Match radius.

    Returns
    -------
    ZeroPoint

    Raises
    ------
    AlgorithmError
        If the frame has no world coordinates, or fewer than 5 stars match.
    """
    if image.wcs is None:
        msg = "a catalogue cannot calibrate a frame without world coordinates"
        raise AlgorithmError(msg)
    clean = np.flatnonzero(stars.is_star)
    if clean.size == 0 or catalog.ra.size == 0:
        require_stars(0)
    ra, dec = image.wcs.celestial.all_pix2world(stars.x[clean], stars.y[clean], 0)
    matched, index = _match(ra, dec, catalog, radius_arcsec=radius_arcsec)
    require_stars(matched.size)
    seen = clean[matched]
    return fit_zero_point(
        stars.flux[seen],
        catalog.magnitude[index],
        flux_error=stars.flux_error[seen],
        magnitude_error=_at(catalog.magnitude_error, index),
        color=_at(catalog.color, index),
        place=_scaled(stars.x[seen], stars.y[seen], shape=image.shape),
    )


def apply_trend(image: Image, stars: StarList, zero_point: ZeroPoint) -> tuple[Image, StarList]:
    """Bring a frame to one zero point all over, where its trend is significant.

    Parameters
    ----------
    image : Image
        Background-subtracted frame.
    stars : StarList
        Its sources.
    zero_point : ZeroPoint
        Its zero point; without a trend that is applied, frame and stars come back as they are.

    Returns
    -------
    tuple of Image and StarList
        Data, variance and fluxes with the slope of the zero point divided out.
    """
    trend = zero_point.trend
    if trend is None or not trend.is_applied:
        return image, stars
    ny, nx = image.shape
    across, up = np.linspace(-1.0, 1.0, nx), np.linspace(-1.0, 1.0, ny)
    factor = np.multiply.outer(
        10 ** (-0.4 * trend.along_y * up), 10 ** (-0.4 * trend.along_x * across)
    ).astype(np.float32)
    variance = None if image.variance is None else image.variance * factor**2
    u, v = _scaled(stars.x, stars.y, shape=image.shape)
    own = 10 ** (-0.4 * (trend.along_x * u + trend.along_y * v))
    level = StarList(
        stars.x, stars.y, stars.flux * own, stars.flux_error * own, stars.peak * own, stars.is_star
    )
    return image.with_(data=image.data * factor, variance=variance), level


def _match(
    ra: Float64, dec: Float64, catalog: CatalogStars, *, radius_arcsec: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Stars of the frame and of the catalogue that belong together, each at most once."""
    chord = 2.0 * np.sin(np.radians(radius_arcsec / 3600.0) / 2.0)
    distance, index = cKDTree(_unit_vectors(catalog.ra, catalog.dec)).query(_unit_vectors(ra, dec))
    near = np.flatnonzero(distance < chord)
    # of two stars that claim one entry the nearer has it
    near = near[np.argsort(distance[near], kind="stable")]
    _, first = np.unique(index[near], return_index=True)
    matched = np.sort(near[first])
    return matched, np.asarray(index[matched], dtype=np.intp)


def _at(column: Float64 | None, index: NDArray[np.intp]) -> Float64 | None:
    return None if column is None else column[index]


def _scaled(x: Float64, y: Float64, *, shape: tuple[int, int]) -> tuple[Float64, Float64]:
    """Positions from -1 to 1 across the frame."""
    ny, nx = shape
    return 2.0 * x / max(nx - 1, 1) - 1.0, 2.0 * y / max(ny - 1, 1) - 1.0


def _unit_vectors(ra: Float64, dec: Float64) -> Float64:
    """Unit vectors of ICRS positions [deg]: distances are safe at the poles and at RA 0."""
    a, d = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
