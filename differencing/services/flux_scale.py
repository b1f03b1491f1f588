"""The flux scale of one frame against another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from preprocessing.algorithms.registration import Registration

#: Physical units of flux; with a solid angle below the slash, of surface brightness.
_PHYSICAL_UNITS = frozenset({"jy", "mjy", "ujy", "njy", "maggy", "nanomaggy"})
#: Clean stars that overrule a calibration in physical units, and header zero points: the latter
#: are often those of a clear night, whatever the night was.
_STARS_OVER_UNIT = 20
_STARS_OVER_ZERO_POINT = 5


def flux_scale(registration: Registration, source: Image, target: Image) -> float:
    """Factor from the flux scale of one image, warped, to another's.

    By their common stars; by the calibration where the clean ones among these are too few to
    overrule it: a handful of galaxies measures the aperture, not the scale.
    """
    measured, n_stars = registration.flux_ratio, registration.n_flux_stars
    for calibrated, n_required in (
        (_scale_of_units(source, target), _STARS_OVER_UNIT),
        (_scale_of_zero_points(source, target), _STARS_OVER_ZERO_POINT),
    ):
        if calibrated is not None and (measured is None or n_stars < n_required):
            return calibrated
    return float(measured) if measured is not None and measured > 0 else 1.0


def _scale_of_units(source: Image, target: Image) -> float | None:
    """Scale of two frames in one physical unit; None where counts are their unit."""
    from preprocessing.algorithms.quality import pixel_scale_arcsec

    unit = source.unit.replace(" ", "").lower()
    if source.unit != target.unit or unit.partition("/")[0] not in _PHYSICAL_UNITS:
        return None
    scales = pixel_scale_arcsec(source.wcs), pixel_scale_arcsec(target.wcs)
    if "/" not in unit or scales[0] is None or scales[1] is None:
        return 1.0
    # a surface brightness does not grow with the pixel, as the warp makes fluxes do
    return float((scales[0] / scales[1]) ** 2)


def _scale_of_zero_points(source: Image, target: Image) -> float | None:
    if source.zero_point is None or target.zero_point is None:
        return None
    return float(10.0 ** (0.4 * (target.zero_point - source.zero_point)))


def rescale(image: Image, factor: float) -> Image:
    """An image in units ``factor`` times smaller: data, variance and saturation follow."""
    return image.with_(
        data=image.data * image.data.dtype.type(factor),
        variance=None
        if image.variance is None
        else image.variance * image.variance.dtype.type(factor**2),
        saturation=None if image.saturation is None else image.saturation * factor,
    )
