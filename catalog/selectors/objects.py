"""Reading objects: cones, pages and light curves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from astrid_site.imaging.healpix import MAX_RADIUS_ARCSEC, cone_ranges, separation_arcsec
from catalog.models import AstroObject, LightCurvePoint, ObjectDetection
from differencing.models import ReferenceEpoch
from observations.models import Observation
from observations.selectors import survey_is

Row = TypeVar("Row", bound=Model)

#: An object of a frame may lie this far outside of it, carried there by its mean position.
EDGE_ARCSEC = 10.0
#: Flag of the difference entry of an epoch that is part of the reference.
REFERENCE = "REFERENCE"


@dataclass(frozen=True)
class ObjectPage:
    """All that the page of one object shows."""

    astro_object: AstroObject
    members: list[ObjectDetection]
    light_curve: list[LightCurvePoint]


def in_cone(
    rows: QuerySet[Row],
    ra: float,
    dec: float,
    *,
    radius_arcsec: float,
    prefix: str = "",
    limit: int | None = None,
) -> list[tuple[Row, float]]:
    """Rows of any table with a HEALPix index within a cone, nearest first, with separations.

    ``prefix`` leads to the table with ``ra``, ``dec`` and ``healpix14``, e.g. ``observation__``.
    """
    radius = min(radius_arcsec, MAX_RADIUS_ARCSEC)
    condition = Q()
    for low, high in cone_ranges(ra, dec, radius):
        condition |= Q(**{f"{prefix}healpix14__gte": low, f"{prefix}healpix14__lt": high})
    # keys and places first: the nearest rows are known before any whole row is read
    # in no order: asked for one, SQLite walks its index and tries the ranges on every row
    wanted = rows.filter(condition).order_by()
    told = sorted(wanted.values_list("pk", f"{prefix}ra", f"{prefix}dec").iterator())
    keys, places = [row[0] for row in told], [row[1:] for row in told]
    if not keys:
        return []
    around = np.array(places, dtype=np.float64)
    apart = separation_arcsec(ra, dec, around[:, 0], around[:, 1])
    nearest = [i for i in np.argsort(apart, kind="stable")[:limit] if apart[i] <= radius]
    found = rows.in_bulk([keys[i] for i in nearest])
    return [(found[keys[i]], float(apart[i])) for i in nearest]


def cone_search(
    ra: float,
    dec: float,
    radius_arcsec: float,
    *,
    limit: int | None = None,
    rows: QuerySet[AstroObject] | None = None,
) -> list[AstroObject]:
    """Objects (of ``rows``) within a cone, nearest first; each carries ``separation_arcsec``.

    Exact at the poles and across RA 0: cells narrow the search, great circles decide.

    Raises
    ------
    ValueError
        If the position is not on the sky or the radius is not positive.
    """
    wanted = AstroObject.objects.all() if rows is None else rows
    found = in_cone(wanted, ra, dec, radius_arcsec=radius_arcsec, limit=limit)
    for row, apart in found:
        row.separation_arcsec = apart  # type: ignore[attr-defined]
    return [row for row, _ in found]


def object_list(filters: dict[str, Any] | None = None) -> QuerySet[AstroObject]:
    """Objects for the table, latest first.

    Filters: ``state``, ``q`` (in the name), ``classification``, ``survey`` (name, slug or row; on
    whose frames it was detected).
    """
    wanted = filters or {}
    rows = AstroObject.objects.all()
    if state := wanted.get("state"):
        rows = rows.filter(state=state)
    if name := wanted.get("q"):
        rows = rows.filter(name__icontains=name)
    if survey := wanted.get("survey"):
        on_its_frames = ObjectDetection.objects.filter(
            survey_is(survey, prefix="detection__observation__"), astro_object=OuterRef("pk")
        )
        rows = rows.filter(Exists(on_its_frames))
    if classification := wanted.get("classification"):
        rows = rows.filter(classification=classification)
    return rows.order_by("-last_detected_at", "id")


def name_surveys(rows: Iterable[AstroObject]) -> None:
    """Give each object ``survey_names``, those of the surveys that detected it, in one query."""
    owners = {row.pk: row for row in rows}
    pairs = (
        ObjectDetection.objects.filter(astro_object__in=list(owners))
        .values_list("astro_object_id", "detection__observation__survey__name")
        .distinct()
    )
    names: dict[UUID, list[str]] = {key: [] for key in owners}
    for key, name in sorted(pairs, key=lambda pair: pair[1]):
        names[key].append(name)
    for key, row in owners.items():
        row.survey_names = names[key]  # type: ignore[attr-defined]


def object_of(detection_id: UUID) -> AstroObject | None:
    """The object a detection belongs to, if it has a place on the sky."""
    member = (
        ObjectDetection.objects.filter(detection_id=detection_id)
        .select_related("astro_object")
        .first()
    )
    return member.astro_object if member else None


def light_curve(astro_object: AstroObject, *, kind: str = "") -> list[LightCurvePoint]:
    """Forced photometry of one object in order of time, of one kind or of both.

    An epoch of the reference has no difference of its own; its entry says so.
    """
    rows = list(
        LightCurvePoint.objects.filter(astro_object=astro_object).select_related(
            "observation", "observation__survey", "difference_run"
        )
    )
    rows += _reference_entries(rows)
    wanted = [row for row in rows if kind in ("", row.kind)]
    # undated epochs last, on every database
    return sorted(
        wanted, key=lambda row: (row.mjd is None, row.mjd or 0.0, str(row.observation_id), row.kind)
    )


def _reference_entries(rows: Iterable[LightCurvePoint]) -> list[LightCurvePoint]:
    """Entries, never saved, for epochs that are part of the reference of the object's differences.

    Which these are follows from the references alone, whatever was measured first; a stored row
    could only contradict them. Its flux is null: zero by construction was not measured.
    """
    differences = [row for row in rows if row.difference_run is not None]
    subtracted = {row.science_image_id for row in differences}
    totals = {
        row.science_image_id: row
        for row in rows
        if row.difference_run is None and row.science_image_id not in subtracted
    }
    used = {row.difference_run.reference_id for row in differences if row.difference_run}
    epochs = ReferenceEpoch.objects.filter(reference__in=used - {None}, science_image__in=totals)
    keys = set(epochs.values_list("science_image_id", flat=True)) if used and totals else set()
    return [
        LightCurvePoint(
            astro_object_id=total.astro_object_id,
            kind=LightCurvePoint.Kind.DIFFERENCE,
            science_image_id=key,
            observation=total.observation,
            mjd=total.mjd,
            band=total.band,
            zero_point=total.zero_point,
            flags=[REFERENCE],
        )
        for key, total in totals.items()
        if key in keys
    ]


def flux_ratios(rows: Iterable[LightCurvePoint]) -> dict[UUID, tuple[UUID, float]]:
    """Science images tied to a reference: which, and their star flux over that on the reference.

    A reference of one epoch has that epoch's own scale.
    """
    runs = [row.difference_run for row in rows if row.difference_run is not None]
    tied: dict[UUID, tuple[UUID, float]] = {}
    used = {run.reference_id for run in runs if run.reference_id is not None}
    epochs: dict[UUID, list[UUID]] = {}
    for reference, image in ReferenceEpoch.objects.filter(reference__in=used).values_list(
        "reference_id", "science_image_id"
    ):
        epochs.setdefault(reference, []).append(image)
    tied.update({images[0]: (key, 1.0) for key, images in epochs.items() if len(images) == 1})
    for run in runs:
        ratio = run.metrics.get("star_flux_ratio")
        if run.reference_id and run.science_image_id and ratio is not None and ratio > 0:
            tied[run.science_image_id] = (run.reference_id, float(ratio))
    return tied


def members(astro_object: AstroObject) -> list[ObjectDetection]:
    """Detections of one object, latest exposure first."""
    return list(
        ObjectDetection.objects.filter(astro_object=astro_object)
        .select_related("detection", "detection__observation__survey", "detection__run")
        .order_by("-detection__observation__mid_mjd", "detection_id")
    )


def object_page(astro_object: AstroObject) -> ObjectPage:
    """An object with its detections and its light curve, in three queries."""
    return ObjectPage(astro_object, members(astro_object), light_curve(astro_object))


def objects_near(observation: Observation, *, margin_arcsec: float = 0.0) -> list[AstroObject]:
    """Objects that may lie on one frame: within the circle around it, real or simulated alike."""
    if observation.ra is None or observation.dec is None or observation.radius_deg is None:
        return []
    rows = AstroObject.objects.filter(is_simulated=observation.is_simulated)
    radius = observation.radius_deg * 3600.0 + margin_arcsec
    return [row for row, _ in in_cone(rows, observation.ra, observation.dec, radius_arcsec=radius)]
