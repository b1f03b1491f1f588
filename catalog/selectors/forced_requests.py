"""Reading what was measured at places of somebody's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db.models import Max

from catalog.models import MEASURED_FIELDS, ForcedRequest, LightCurvePoint
from catalog.selectors.exports import point_value
from catalog.selectors.objects import EDGE_ARCSEC, in_cone
from observations.models import Observation
from preprocessing.models import ScienceImage
from preprocessing.selectors import finished_images

#: What is kept of each point, beside its place and what it was measured on.
POINT_FIELDS = ("kind", *MEASURED_FIELDS)


def images_holding(row: ForcedRequest, *, version: str) -> list[ScienceImage]:
    """Calibrated frames whose circles hold any of the places of a request."""
    images = finished_images().filter(pipeline_version=version)
    if row.survey_id is not None:
        images = images.filter(observation__survey=row.survey_id)
    widest = Observation.objects.aggregate(radius_deg=Max("radius_deg"))["radius_deg"]
    if widest is None:
        return []
    reach = widest * 3600.0 + EDGE_ARCSEC
    found: dict[UUID, ScienceImage] = {}
    for ra, dec in row.places:
        near = in_cone(images, ra, dec, radius_arcsec=reach, prefix="observation__")
        for image, apart in near:
            if apart <= (image.observation.radius_deg or 0.0) * 3600.0 + EDGE_ARCSEC:
                found[image.pk] = image
    return list(found.values())


def forced_points(row: ForcedRequest) -> list[list[LightCurvePoint]]:
    """Points of each place in order of time, never saved; frames that are gone are left out."""
    keys = {told["observation_id"] for told in row.points}
    frames = Observation.objects.select_related("survey").in_bulk(keys)
    found: list[list[LightCurvePoint]] = [[] for _ in row.places]
    for told in row.points:
        frame = frames.get(UUID(told["observation_id"]))
        if frame is not None:
            values = {name: value for name, value in told.items() if name != "place"}
            point = LightCurvePoint(**values)
            point.observation = frame
            found[told["place"]].append(point)
    for points in found:
        points.sort(key=lambda p: (p.mjd is None, p.mjd or 0.0, str(p.observation_id), p.kind))
    return found


def forced_rows(row: ForcedRequest, names: list[str]) -> Iterator[list[tuple[Any, ...]]]:
    """Fluxes of one place after another: its number from 1, its position, then as named."""
    for number, points in enumerate(forced_points(row), start=1):
        ra, dec = row.places[number - 1]
        yield [(number, ra, dec, *(point_value(p, name) for name in names)) for p in points]
