"""A frame is never left behind because its reference came at the very moment it gave up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, transaction

from astrid_site import control, pipeline
from astrid_site.core import jobs
from astrid_site.core.jobs import Outcome
from astrid_site.core.models import Job
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.core.status import JobState, RunStatus
from astrid_site.imaging.errors import NoWorkError
from differencing.models import ReferenceRun
from observations.models import Observation, ProcessingRun
from preprocessing.models import ScienceImage
from tests.observations.factories import make_observation, make_stored_file, make_survey
from tests.pipeline.drive import drain

pytestmark = pytest.mark.django_db


def calibrate(run: ProcessingRun, progress: Progress) -> StageProduct:
    """Preprocessing whose pixels nobody needs."""

    def save() -> None:
        ScienceImage.objects.filter(pk=run.pk).update(
            file=make_stored_file(), stars_file=make_stored_file(), fwhm_pix=3.0, sky_noise=1.0
        )

    return StageProduct(metrics={}, save=save)


def give_up(run: ProcessingRun, progress: Progress) -> StageProduct:
    msg = "no reference yet"
    raise NoWorkError(msg)


Services = dict[str, Callable[[ProcessingRun, Progress], StageProduct]]


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Services:
    """Preprocessing that succeeds, a search for a reference that finds none."""
    settings.JOB_BACKOFF_S = 0.0
    made: Services = {"preprocess": calibrate, "reference": give_up}

    def service(name: str) -> Callable[[ProcessingRun, Progress], StageProduct]:
        return lambda run, progress: made[name](run, progress)

    stages = tuple(replace(stage, service=service(stage.name)) for stage in pipeline.STAGES)
    handlers = {stage.name: partial(pipeline.run_stage, stage) for stage in stages}
    monkeypatch.setattr(pipeline, "STAGES", stages)
    monkeypatch.setattr(pipeline, "STAGE_BY_NAME", {stage.name: stage for stage in stages})
    monkeypatch.setattr(pipeline, "HANDLERS", handlers)
    return made


def reference_job(row: Observation) -> Job:
    return jobs.submit(jobs.NextJob("reference", row.pk, pipeline.PIPELINE_VERSION))


@pytest.mark.parametrize("fields", [{"day": 1}, {"day": 9, "role": "template"}])
def test_a_frame_looks_again_when_a_reference_came_while_it_gave_up(
    services: Services, fields: dict[str, Any]
) -> None:
    survey, looks = make_survey(), []
    later = make_observation(survey, day=5)

    def look(run: ProcessingRun, progress: Progress) -> StageProduct:
        looks.append(run.status)
        if len(looks) == 1:
            other = make_observation(survey, **fields)
            jobs.run(control.start(other).pk)
        return give_up(run, progress)

    services["reference"] = look
    job = reference_job(later)
    jobs.run(job.pk)
    job.refresh_from_db()
    later.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert later.status != RunStatus.SKIPPED
    jobs.run(job.pk)
    job.refresh_from_db()
    later.refresh_from_db()
    assert len(looks) == 2
    assert (job.state, later.status) == (JobState.SKIPPED, RunStatus.SKIPPED)
    assert ReferenceRun.objects.get(observation=later).reason.startswith("no reference")


@pytest.mark.parametrize(
    "fields", [{"day": 7}, {"day": 1, "band": "g"}, {"day": 1, "role": "science"}]
)
def test_a_frame_that_can_be_no_reference_makes_nobody_look_again(
    services: Services, fields: dict[str, Any]
) -> None:
    survey = make_survey()
    later = make_observation(survey, day=5)

    def look(run: ProcessingRun, progress: Progress) -> StageProduct:
        jobs.run(control.start(make_observation(survey, **fields)).pk)
        return give_up(run, progress)

    services["reference"] = look
    job = reference_job(later)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.SKIPPED


@pytest.mark.django_db(transaction=True)
def test_giving_up_and_being_calibrated_at_one_moment_leaves_no_frame_behind(
    services: Services,
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: the two transactions cannot overlap")
    survey = make_survey()
    early, later = make_observation(survey, day=1), make_observation(survey, day=5)
    first, job = control.start(early), reference_job(later)
    is_skipping, is_calibrated = threading.Event(), threading.Event()
    real = pipeline._ended

    def slowly(*args: Any, **kwargs: Any) -> Outcome:
        ended = real(*args, **kwargs)

        def save() -> Any:
            following = ended.save()
            is_skipping.set()
            # the other one has to wait for this transaction's end
            assert not is_calibrated.wait(timeout=0.5)
            return following

        return Outcome(ended.state, cause=ended.cause, save=save)

    def run_first() -> None:
        try:
            assert is_skipping.wait(timeout=10)
            jobs.run(first.pk)
            is_calibrated.set()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run_first)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_ended", slowly)
        jobs.run(job.pk)
    thread.join(timeout=20)
    assert is_calibrated.is_set()
    job.refresh_from_db()
    assert job.state == JobState.QUEUED  # revived by the frame that waited


def test_a_whole_survey_that_comes_in_any_order_ends(services: Services) -> None:
    survey = make_survey()
    for day in (3, 1, 2):
        with transaction.atomic():
            control.start(make_observation(survey, day=day))
    drain()
    assert set(Observation.objects.values_list("status", flat=True)) == {RunStatus.SKIPPED}
