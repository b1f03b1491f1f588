"""Making the pictures of a finished observation anew: for frames that older versions worked on."""

from __future__ import annotations

from collections.abc import Sequence

from astrid_site.core import jobs
from astrid_site.core.events import publish
from astrid_site.core.jobs import JobContext, NextJob, Outcome
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from differencing.models import DifferenceRun
from differencing.services.views import redraw as redraw_difference
from observations.models import Observation
from preprocessing.models import ScienceImage
from preprocessing.services import redraw as redraw_science

REDRAW = "redraw"


def request_redraw(observation: Observation) -> Job:
    """Have a worker draw an observation again, in the caller's transaction."""
    return jobs.submit(
        NextJob(kind=REDRAW, subject_id=observation.pk, config_version="1"), revive=True
    )


def redraw_job(observation: Observation) -> Job | None:
    """The last request to draw an observation again."""
    return Job.objects.filter(kind=REDRAW, subject_id=observation.pk).first()


def run_redraw(context: JobContext) -> Outcome:
    """Draw what is stored of an observation; its runs and their numbers stay as they are."""
    of_observation = {"observation_id": context.subject_id, "file__isnull": False}
    science = ScienceImage.objects.filter(**of_observation, stars_file__isnull=False)
    difference = DifferenceRun.objects.filter(**of_observation, score_file__isnull=False)
    image = science.select_related("observation", "file", "stars_file").last()
    run = difference.select_related(
        "observation", "file", "template_file", "score_file", "science_image__stars_file"
    ).last()
    context.progress(0.1, "drawing the frame")
    image_views = redraw_science(image) if image else None
    context.progress(0.5, "drawing the difference")
    run_views = redraw_difference(run) if run else None

    def save() -> Sequence[NextJob]:
        if image and image_views:
            ScienceImage.objects.filter(pk=image.pk).update(preview_file=image_views)
        if run and run_views:
            DifferenceRun.objects.filter(pk=run.pk).update(preview_file=run_views)
        publish("observation.changed", subject_id=context.subject_id, payload={"drawn": True})
        return ()

    if image is None:
        return Outcome(JobState.SKIPPED, cause="no calibrated frame to draw")
    return Outcome(JobState.DONE, save=save)
