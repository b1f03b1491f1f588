"""Photometric zero point: from the header as recorded there, or against catalogue stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from preprocessing.algorithms.stars import StarList

Float64 = NDArray[np.float64]

MIN_STARS = 5


@dataclass(frozen=True)
class ZeroPoint:
    """AB magnitude of one data unit of flux.

    Attributes
    ----------
    value : float or None
        Zero point [mag]; None where nothing calibrates the frame.
    error : float or None
        Standard error [mag]; None where the source states none.
    source : str or None
        ``"header"``, ``"catalog"`` or None.
    n_stars : int
        Catalogue stars used; 0 for a header value.
    """

    value: float | None
    error: float | None
    source: str | None
    n_stars: int


@dataclass(frozen=True)
class CatalogStars:
    """Catalogue stars: ICRS positions [deg] and AB magnitudes in the band, arrays of shape (n,)."""

    ra: Float64
    dec: Float64
    magnitude: Float64


def header_zero_point(image: Image) -> ZeroPoint:
    """The zero point that came with the image, recorded as the header's word."""
    value = image.zero_point
    if value is None or not np.isfinite(value):
        return ZeroPoint(None, None, None, 0)
    return ZeroPoint(float(value), None, "header", 0)


def fit_zero_point(
    flux: Float64, magnitude: Float64, *, flux_error: Float64, clip_sigma: float = 3.0
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
    clip_sigma : float
        Stars farther than this many robust sigma from the median are left out.

    Returns
    -------
    ZeroPoint
        Weighted mean of ``magnitude + 2.5 log10(flux)``, its standard error, and the stars kept.

    Raises
    ------
    AlgorithmError
        If fewer than 5 stars survive clipping; carries ``n_stars`` and ``n_required``.
    """
    usable = (flux > 0) & np.isfinite(magnitude) & np.isfinite(flux_error) & (flux_error > 0)
    _require(int(usable.sum()))
    offset = magnitude[usable] + 2.5 * np.log10(flux[usable])
    error = 1.0857 * flux_error[usable] / flux[usable]
    kept = np.ones(offset.size, dtype=np.bool_)
    scatter = 0.0
    for _ in range(5):
        centre = float(np.median(offset[kept]))
        scatter = 1.4826 * float(np.median(np.abs(offset[kept] - centre)))
        # catalogue scatter and flat-field errors remain for the brightest stars
        width = np.hypot(error, max(scatter, 1e-3))
        kept = np.abs(offset - centre) < clip_sigma * width
        _require(int(kept.sum()))
    weight = 1.0 / np.hypot(error[kept], max(scatter, 1e-3)) ** 2
    value = float((weight * offset[kept]).sum() / weight.sum())
    return ZeroPoint(value, float(1.0 / np.sqrt(weight.sum())), "catalog", int(kept.sum()))


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
        _require(0)
    ra, dec = image.wcs.celestial.all_pix2world(stars.x[clean], stars.y[clean], 0)
    chord = 2.0 * np.sin(np.radians(radius_arcsec / 3600.0) / 2.0)
    distance, index = cKDTree(_unit_vectors(catalog.ra, catalog.dec)).query(_unit_vectors(ra, dec))
    matched = distance < chord
    _require(int(matched.sum()))
    return fit_zero_point(
        stars.flux[clean][matched],
        catalog.magnitude[index[matched]],
        flux_error=stars.flux_error[clean][matched],
    )


def _require(n_stars: int) -> None:
    """Refuse a zero point from fewer than five stars."""
    if n_stars < MIN_STARS:
        msg = f"too few stars for a zero point: {n_stars}, and {MIN_STARS} are needed"
        raise AlgorithmError(msg, n_stars=n_stars, n_required=MIN_STARS)


def _unit_vectors(ra: Float64, dec: Float64) -> Float64:
    """Unit vectors of ICRS positions [deg]: distances are safe at the poles and at RA 0."""
    a, d = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
