"""Forced photometry at places of somebody's own: on every calibrated frame that covers them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import transaction
from django.forms.models import model_to_dict

from astrid_site.accounts.models import User
from astrid_site.core import jobs
from astrid_site.core.jobs import JobContext, NextJob, Outcome
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from catalog.models import AstroObject, ForcedRequest, LightCurvePoint
from catalog.selectors.forced_requests import POINT_FIELDS, images_holding
from catalog.services.frames import FrameLoader, find_frames
from catalog.services.points import measure_points
from observations.models import Survey

FORCED = "forced_photometry"
#: Places of one request, and fluxes it may come to: what one page and one file can show.
MAX_PLACES, MAX_POINTS = 100, 20_000


def request_forced(
    owner: User, places: Sequence[tuple[float, float]], *, name: str = "", survey: Survey | None
) -> ForcedRequest:
    """Keep a list of places (ra, dec) [ICRS degrees] and have a worker measure them.

    Raises
    ------
    ValueError
        Without a place, or with more than 100.
    """
    if not 0 < len(places) <= MAX_PLACES:
        msg = f"places: 1 to {MAX_PLACES} are measured at once, got {len(places)}"
        raise ValueError(msg)
    with transaction.atomic():
        row = ForcedRequest.objects.create(
            owner=owner, name=name, survey=survey, places=[list(place) for place in places]
        )
        jobs.submit(NextJob(kind=FORCED, subject_id=row.pk, config_version="1"))
    return row


def job_of_request(row: ForcedRequest) -> Job | None:
    """How far it is."""
    return Job.objects.filter(kind=FORCED, subject_id=row.pk).first()


def run_forced(context: JobContext, *, version: str) -> Outcome:
    """Measure both kinds of flux at every place of a request on every frame that covers it."""
    row = ForcedRequest.objects.select_related("survey").get(pk=context.subject_id)
    # a place to measure is an object that nobody found: never saved, only its place counts
    places = [AstroObject(ra=ra, dec=dec) for ra, dec in row.places]
    frames = find_frames(images_holding(row, version=version))
    if len(frames) * len(places) * 2 > MAX_POINTS:
        cause = f"{len(frames)} frames at {len(places)} places are more than {MAX_POINTS} fluxes"
        return Outcome(JobState.FAILED, cause=f"{cause}; ask for fewer places or one survey")
    number = {place.pk: i for i, place in enumerate(places)}
    loader, points = FrameLoader(), list[dict[str, Any]]()
    for i, frame in enumerate(frames):
        context.progress(i / len(frames), f"measuring on frame {i + 1} of {len(frames)}")
        measured = measure_points(frame, places, loader).points
        points += [_stored(point, place=number[point.astro_object_id]) for point in measured]
    if not points:
        return Outcome(JobState.SKIPPED, cause="no calibrated frame covers any of the places")
    return Outcome(JobState.DONE, save=partial(_save, row, points))


def _stored(point: LightCurvePoint, *, place: int) -> dict[str, Any]:
    told = model_to_dict(point, fields=POINT_FIELDS)
    keys = ("science_image_id", "difference_run_id", "observation_id")
    linked = {key: getattr(point, key) for key in keys}
    return {
        "place": place,
        **told,
        **{key: None if value is None else str(value) for key, value in linked.items()},
    }


def _save(row: ForcedRequest, points: list[dict[str, Any]]) -> tuple[NextJob, ...]:
    row.points = points
    row.save(update_fields=["points"])
    return ()
