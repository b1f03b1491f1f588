"""Forced photometry: every known object on every difference that covers it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astrid_site.core.stages import Progress, StageProduct
from astrid_site.core.status import RunStatus
from astrid_site.imaging.errors import NoWorkError
from astrid_site.imaging.masks import plane_names
from catalog import selectors
from catalog.models import AssociationRun, AstroObject, LightCurvePoint
from differencing.models import DifferenceRun
from differencing.services import load_difference
from observations.models import ProcessingRun

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image

_POINT_FIELDS = (
    "observation",
    "mjd",
    "band",
    "flux",
    "flux_error",
    "zero_point",
    "magnitude",
    "magnitude_error",
    "limiting_magnitude",
    "flags",
)


@dataclass(frozen=True)
class _Fluxes:
    """Fluxes of the objects that lie on a frame; NaN flux where the frame says nothing."""

    objects: tuple[AstroObject, ...]
    flux: list[float]
    flux_error: list[float]
    flags: list[int]


def run_photometry(run: ProcessingRun, progress: Progress) -> StageProduct:
    """Measure every known object on this difference, and what moved on all other differences."""
    difference_run = _finished_difference(run)
    observation = difference_run.observation
    here = selectors.objects_near(observation)
    points = measure_points(difference_run, here)
    changed = _changed_objects(run)
    others = selectors.differences_near(observation, exclude=[difference_run.pk]) if changed else []
    for i, other in enumerate(others):
        progress(0.2 + 0.8 * i / len(others), f"measuring on frame {i + 1} of {len(others)}")
        points += measure_points(other, changed)
    metrics = {
        "n_objects": len(here),
        "n_points": len(points),
        "n_other_frames": len(others),
        "n_masked": sum(point.flux is None for point in points),
    }
    inputs = {"difference": difference_run.file.sha256} if difference_run.file else {}
    return StageProduct(metrics=metrics, inputs=inputs, save=lambda: save_points(points))


def _finished_difference(run: ProcessingRun) -> DifferenceRun:
    found = (
        DifferenceRun.objects.filter(
            observation_id=run.observation_id,
            pipeline_version=run.pipeline_version,
            status=RunStatus.SUCCEEDED,
        )
        .select_related("observation", "file")
        .first()
    )
    if found is None:
        msg = "no finished difference"
        raise NoWorkError(msg)
    return found


def _changed_objects(run: ProcessingRun) -> list[AstroObject]:
    """Objects that this observation founded or moved."""
    association = AssociationRun.objects.filter(
        observation_id=run.observation_id, pipeline_version=run.pipeline_version
    ).first()
    keys = association.metrics.get("moved", []) if association else []
    return list(AstroObject.objects.filter(pk__in=keys).order_by("pk"))


def measure_points(
    difference_run: DifferenceRun, objects: Sequence[AstroObject]
) -> list[LightCurvePoint]:
    """Light-curve points, not yet saved, of the objects that lie on one difference."""
    if not objects:
        return []
    image = load_difference(difference_run)
    if image.wcs is None:
        return []
    fluxes = _measure(image, objects)
    rows = zip(fluxes.objects, fluxes.flux, fluxes.flux_error, fluxes.flags, strict=True)
    return [
        _point(difference_run, owner, flux, error=error, flags=flags, zero_point=image.zero_point)
        for owner, flux, error, flags in rows
    ]


def _measure(image: Image, objects: Sequence[AstroObject]) -> _Fluxes:
    """PSF fluxes at the positions of objects; those off the frame are left out."""
    from astrid_site.imaging.photometry import (
        cut_psf_stamps,
        fit_stamp_fluxes,
        measure_noise_scale,
    )

    if image.wcs is None or image.variance is None or image.psf is None:
        msg = "image: a difference carries world coordinates, variance and PSF"
        raise ValueError(msg)
    ra = np.array([row.ra for row in objects])
    dec = np.array([row.dec for row in objects])
    # far off the frame a distorted WCS has no inverse: those come back as NaN and are left out
    x, y = image.wcs.all_world2pix(ra, dec, 0, quiet=True)
    ny, nx = image.shape
    inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    kept = tuple(row for row, is_inside in zip(objects, inside, strict=True) if is_inside)
    if not kept:
        return _Fluxes((), [], [], [])
    stamps = cut_psf_stamps(
        image.data, image.variance, image.psf, mask=image.mask, x=x[inside], y=y[inside]
    )
    scale = measure_noise_scale(image.data, image.variance, image.psf, mask=image.mask)
    fit = fit_stamp_fluxes(stamps, noise_scale=scale)
    return _Fluxes(kept, fit.flux.tolist(), fit.flux_error.tolist(), fit.flags.tolist())


def _point(
    difference_run: DifferenceRun,
    owner: AstroObject,
    flux: float,
    *,
    error: float,
    flags: int,
    zero_point: float | None,
) -> LightCurvePoint:
    from astrid_site.imaging.photometry import flux_to_mag

    observation = difference_run.observation
    point = LightCurvePoint(
        astro_object=owner,
        difference_run=difference_run,
        observation=observation,
        mjd=observation.mid_mjd,
        band=observation.band,
        zero_point=zero_point,
        flags=plane_names(flags),
    )
    if not (np.isfinite(flux) and np.isfinite(error) and error > 0):
        point.flags = [*point.flags, "MASKED"]
        return point
    point.flux, point.flux_error = flux, error
    if zero_point is not None:
        magnitude = flux_to_mag(flux, error, zero_point)
        point.magnitude, point.magnitude_error = magnitude.mag, magnitude.mag_error
        point.limiting_magnitude = magnitude.limit_mag
    return point


def save_points(points: Iterable[LightCurvePoint]) -> None:
    """Write points; one object on one difference keeps one point, the newest."""
    LightCurvePoint.objects.bulk_create(
        points,
        update_conflicts=True,
        unique_fields=["astro_object", "difference_run"],
        update_fields=list(_POINT_FIELDS),
        batch_size=500,
    )
