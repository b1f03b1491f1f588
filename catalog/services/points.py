"""Points of light curves: measured on one frame, and saved only while they are true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astrid_site.imaging.healpix import separation_arcsec
from astrid_site.imaging.masks import plane_names
from catalog.models import MEASURED_FIELDS, AstroObject, LightCurvePoint
from catalog.selectors import EDGE_ARCSEC
from catalog.services.frames import Frame, FrameLoader, PlacedFrame, find_frames
from observations.models import Observation
from preprocessing.models import ScienceImage
from preprocessing.selectors import finished_images

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from catalog.algorithms.forced_fluxes import PlacedFluxes

#: Flags of points beside the names of mask planes.
MASKED = "MASKED"
NO_PSF = "NO_PSF"
OWN_WCS = "OWN_WCS"

_POINT_FIELDS = ("difference_run", "observation", *MEASURED_FIELDS)


@dataclass(frozen=True)
class Measured:
    """Points of one frame, not yet saved, and what the frame was when they were measured."""

    frame: Frame
    points: tuple[LightCurvePoint, ...]


@dataclass(frozen=True)
class Saved:
    """What became of measured points.

    Attributes
    ----------
    n_saved : int
        Written.
    n_moved : int
        Of objects that lie elsewhere by now.
    n_stale : int
        Of frames that are no longer what they were.
    """

    n_saved: int
    n_moved: int
    n_stale: int

    @property
    def n_left(self) -> int:
        """Points left to those who changed what they hang on."""
        return self.n_moved + self.n_stale


def measure_points(frame: Frame, objects: Sequence[AstroObject], loader: FrameLoader) -> Measured:
    """Points of every kind of the objects that lie on a frame; its pixels are read once for all."""
    near = [owner for owner in objects if _may_cover(frame.observation, owner)]
    placed = loader.load(frame) if near else None
    if placed is None or placed.wcs is None:
        return Measured(frame, ())
    return Measured(frame, (*_difference_points(placed, near), *_total_points(placed, near)))


def _may_cover(observation: Observation, owner: AstroObject) -> bool:
    """Whether an object lies in the circle around a frame."""
    if observation.ra is None or observation.dec is None or observation.radius_deg is None:
        return False
    ra, dec = owner.forced_position
    apart = float(separation_arcsec(observation.ra, observation.dec, ra, dec))
    return apart <= observation.radius_deg * 3600.0 + EDGE_ARCSEC


def _difference_points(
    placed: PlacedFrame, objects: Sequence[AstroObject]
) -> list[LightCurvePoint]:
    from astrid_site.imaging.photometry import measure_noise_scale

    image = placed.difference
    if image is None:
        return []
    if image.variance is None or image.psf is None:
        msg = "frame: a difference carries variance and PSF"
        raise ValueError(msg)
    scale = measure_noise_scale(image.data, image.variance, image.psf, mask=image.mask)
    fluxes = _measure(image, objects, placed, noise_scale=scale)
    return _points(placed, image, fluxes, objects=objects, kind=LightCurvePoint.Kind.DIFFERENCE)


def _total_points(placed: PlacedFrame, objects: Sequence[AstroObject]) -> list[LightCurvePoint]:
    from catalog.algorithms.forced_fluxes import measure_sky_scale

    image = placed.science
    scale = 1.0 if image.psf is None else measure_sky_scale(image)
    fluxes = _measure(image, objects, placed, noise_scale=scale)
    return _points(placed, image, fluxes, objects=objects, kind=LightCurvePoint.Kind.TOTAL)


def _measure(
    image: Image, objects: Sequence[AstroObject], placed: PlacedFrame, *, noise_scale: float
) -> PlacedFluxes:
    from catalog.algorithms.forced_fluxes import measure_places

    places = [owner.forced_position for owner in objects]
    return measure_places(image, places, wcs=placed.wcs, noise_scale=noise_scale)


def _points(
    placed: PlacedFrame,
    image: Image,
    fluxes: PlacedFluxes,
    *,
    objects: Sequence[AstroObject],
    kind: LightCurvePoint.Kind,
) -> list[LightCurvePoint]:
    extra = [NO_PSF] if image.psf is None else []
    extra += [] if placed.is_tied else [OWN_WCS]
    rows = zip(
        fluxes.index.tolist(),
        fluxes.flux.tolist(),
        fluxes.flux_error.tolist(),
        fluxes.flags.tolist(),
        strict=True,
    )
    points = []
    for index, flux, error, flags in rows:
        point = _point(placed.frame, objects[index], kind=kind, zero_point=image.zero_point)
        point.flags = [*plane_names(flags), *extra]
        _set_flux(point, flux, error)
        points.append(point)
    return points


def _point(
    frame: Frame, owner: AstroObject, *, kind: LightCurvePoint.Kind, zero_point: float | None
) -> LightCurvePoint:
    ra, dec = owner.forced_position
    is_difference = kind == LightCurvePoint.Kind.DIFFERENCE
    return LightCurvePoint(
        astro_object=owner,
        kind=kind,
        science_image=frame.science_image,
        difference_run=frame.difference if is_difference else None,
        observation=frame.observation,
        mjd=frame.observation.mid_mjd,
        band=frame.observation.band,
        ra=ra,
        dec=dec,
        zero_point=zero_point,
    )


def _set_flux(point: LightCurvePoint, flux: float, error: float) -> None:
    """Flux and what follows from it; without a flux the point says why."""
    from astrid_site.imaging.photometry import flux_to_mag

    if not (np.isfinite(flux) and np.isfinite(error) and error > 0):
        point.flags = point.flags if NO_PSF in point.flags else [*point.flags, MASKED]
        return
    point.flux, point.flux_error = flux, error
    if point.zero_point is not None:
        magnitude = flux_to_mag(flux, error, point.zero_point)
        point.magnitude, point.magnitude_error = magnitude.mag, magnitude.mag_error
        point.limiting_magnitude = magnitude.limit_mag


def save_points(measured: Sequence[Measured], *, holding: ScienceImage | None = None) -> Saved:
    """Write the points whose objects and frames are still what they were when measured.

    Called inside the finishing transaction. With ``holding`` nobody may begin to use that image,
    for a difference or a reference, until the commit: who does so afterwards sees this job ended.
    """
    points = [point for one in measured for point in one.points]
    # held until the commit: nobody may move an object between this look and our write
    owners = (
        AstroObject.objects.select_for_update(no_key=True)
        .filter(pk__in={point.astro_object_id for point in points})
        .order_by("pk")
    )
    places = {owner.pk: owner.forced_position for owner in owners}
    # after the objects, as everybody does who inserts points
    if holding is not None:
        list(ScienceImage.objects.select_for_update().filter(pk=holding.pk))
    true = [point for one in _unchanged(measured) for point in one.points]
    current = [p for p in true if places.get(p.astro_object_id) == (p.ra, p.dec)]
    LightCurvePoint.objects.bulk_create(
        current,
        update_conflicts=True,
        unique_fields=["astro_object", "science_image", "kind"],
        update_fields=list(_POINT_FIELDS),
        batch_size=500,
    )
    return Saved(len(current), len(true) - len(current), len(points) - len(true))


def _unchanged(measured: Sequence[Measured]) -> list[Measured]:
    """Points of frames that are still what they were; whose frame it is measures the others."""
    keys = [one.frame.science_image.pk for one in measured]
    now = {
        frame.science_image.pk: frame.state
        for frame in find_frames(finished_images().filter(pk__in=keys))
    }
    return [one for one in measured if now.get(one.frame.science_image.pk) == one.frame.state]
