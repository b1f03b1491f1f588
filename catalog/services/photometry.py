"""Forced photometry: every known object on every difference that covers it.

Each point records where it was measured. It is saved only while its object is still there: who
moved the object since has measured, or will, that object on all frames, this one included. So the
light curves are the same whoever is quicker, and nobody measures twice.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    "ra",
    "dec",
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
        points += measure_points(other, _still_there(changed))
    metrics = {
        "n_objects": len(here),
        "n_points": len(points),
        "n_other_frames": len(others),
        "n_masked": sum(point.flux is None for point in points),
    }

    def save() -> None:
        metrics["n_left_to_others"] = len(points) - save_points(points)

    inputs = {"difference": difference_run.file.sha256} if difference_run.file else {}
    return StageProduct(metrics=metrics, inputs=inputs, save=save)


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


def _still_there(objects: Sequence[AstroObject]) -> list[AstroObject]:
    """Those that nobody moved since they were read; the others are measured by who moved them."""
    now = AstroObject.objects.in_bulk([row.pk for row in objects])
    return [
        row
        for row in objects
        if row.pk in now and now[row.pk].forced_position == row.forced_position
    ]


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
    ra, dec = np.array([row.forced_position for row in objects]).T
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
    ra, dec = owner.forced_position
    point = LightCurvePoint(
        astro_object=owner,
        difference_run=difference_run,
        observation=observation,
        mjd=observation.mid_mjd,
        band=observation.band,
        ra=ra,
        dec=dec,
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


def save_points(points: Sequence[LightCurvePoint]) -> int:
    """Write the points that were measured where their objects are now; returns how many.

    Called inside the finishing transaction. One object on one difference keeps one point.
    """
    # held until the commit: nobody may move an object between this look and our write
    owners = (
        AstroObject.objects.select_for_update(no_key=True)
        .filter(pk__in={point.astro_object_id for point in points})
        .order_by("pk")
    )
    places = {owner.pk: owner.forced_position for owner in owners}
    current = [p for p in points if places.get(p.astro_object_id) == (p.ra, p.dec)]
    LightCurvePoint.objects.bulk_create(
        current,
        update_conflicts=True,
        unique_fields=["astro_object", "difference_run"],
        update_fields=list(_POINT_FIELDS),
        batch_size=500,
    )
    return len(current)
