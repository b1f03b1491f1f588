"""What follows what: waiting, skipping, reviving, failing, retrying, cancelling."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.db.models.functions import Now

from astrid_site import control, pipeline
from astrid_site.core import jobs
from astrid_site.core.errors import ApplicationError, TransientError
from astrid_site.core.models import AuditEntry, FileKind, Job
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.core.status import JobState, RunStatus
from astrid_site.core.storage import put_file
from astrid_site.imaging.errors import AlgorithmError, ImageReadError, NoWorkError
from differencing.models import ReferenceRun
from observations.models import Observation, ProcessingRun
from preprocessing.models import ScienceImage
from tests.observations.factories import make_observation, make_survey, make_user, write_frame
from tests.pipeline.drive import drain

pytestmark = pytest.mark.django_db


class Script:
    """Services that end as the test says, in place of the six real ones."""

    def __init__(self) -> None:
        self.endings: dict[str, list[Exception]] = {}
        self.calls: list[str] = []

    def stage(self, stage: pipeline.Stage) -> pipeline.Stage:
        def service(run: ProcessingRun, progress: Progress) -> StageProduct:
            self.calls.append(stage.name)
            planned = self.endings.get(stage.name)
            if planned:
                raise planned.pop(0)
            return StageProduct(
                metrics={"snr": np.float32(7.0), "depth": float("nan")}, inputs={"raw": "0" * 64}
            )

        return pipeline.Stage(stage.name, stage.title, stage.run_model, service)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Script:
    settings.JOB_BACKOFF_S = 0.0
    script = Script()
    stages = tuple(script.stage(stage) for stage in pipeline.STAGES)
    monkeypatch.setattr(pipeline, "STAGES", stages)
    monkeypatch.setattr(pipeline, "STAGE_BY_NAME", {stage.name: stage for stage in stages})
    handlers = {
        stage.name: lambda context, stage=stage: pipeline.run_stage(stage, context)
        for stage in stages
    }
    monkeypatch.setattr(pipeline, "HANDLERS", handlers)
    return script


def test_six_stages_follow_one_another(script: Script) -> None:
    row = make_observation()
    control.start(row)
    drain()
    assert script.calls == [stage.name for stage in pipeline.STAGES]
    row.refresh_from_db()
    assert (row.status, row.stage, row.reason) == ("succeeded", "photometry", "")
    run = ScienceImage.objects.get(observation=row)
    assert run.metrics == {"snr": 7.0, "depth": None}
    assert run.status == RunStatus.SUCCEEDED
    assert run.code_version


def test_a_frame_named_as_template_is_calibrated_and_measured_but_not_subtracted(
    script: Script,
) -> None:
    row = make_observation(role="template")
    control.start(row)
    drain()
    row.refresh_from_db()
    assert script.calls == ["preprocess", "photometry"]
    assert (row.status, row.stage) == ("succeeded", "photometry")


@pytest.mark.parametrize(
    ("error", "status", "numbers"),
    [
        (
            NoWorkError("no reference yet", n_epochs=0),
            "skipped",
            {"code": "no_reference_yet", "n_epochs": 0},
        ),
        (AlgorithmError("too few stars", n_stars=3), "failed", {"code": "few_stars", "n_stars": 3}),
        (
            ImageReadError("is cut off.", file_name="a.fits", code="truncated", remedy="Resend."),
            "failed",
            {"code": "truncated"},
        ),
    ],
)
def test_an_ending_is_written_with_its_reason_and_numbers(
    script: Script, error: Exception, status: str, numbers: dict[str, Any]
) -> None:
    script.endings["reference"] = [error]
    row = make_observation()
    control.start(row)
    drain()
    run = ReferenceRun.objects.get(observation=row)
    row.refresh_from_db()
    assert (run.status, run.numbers) == (status, numbers)
    assert run.reason.startswith(str(error))
    assert (row.status, row.stage, row.reason) == (status, "reference", run.reason)
    job = Job.objects.get(kind="reference")
    assert (job.state, job.cause) == (status, run.reason)
    assert script.calls == ["preprocess", "reference"]


@pytest.mark.django_db(transaction=True)
def test_a_passing_trouble_is_tried_again(script: Script) -> None:
    script.endings["difference"] = [TransientError("store is down")] * 2
    row = make_observation()
    control.start(row)
    drain()
    row.refresh_from_db()
    assert row.status == "succeeded"
    assert script.calls.count("difference") == 3


def test_a_lost_job_fails_its_run_with_the_cause() -> None:
    row = make_observation()
    job = control.start(row)
    job.cause = "worker lost 5 times"
    pipeline.job_lost(job)
    row.refresh_from_db()
    run = ScienceImage.objects.get(observation=row)
    assert (run.status, run.reason) == ("failed", "worker lost 5 times")
    assert (row.status, row.stage, row.reason) == ("failed", "preprocess", "worker lost 5 times")
    job.kind, job.subject_id = "unknown", uuid4()
    pipeline.job_lost(job)  # a job of another kind is nobody's run


def test_a_failed_observation_can_be_retried_from_its_stage(script: Script) -> None:
    script.endings["difference"] = [AlgorithmError("bad kernel")]
    row, actor = make_observation(), make_user()
    control.start(row)
    drain()
    job = control.retry(row, actor)
    assert (job.kind, job.state, job.attempts) == ("difference", "queued", 0)
    drain()
    row.refresh_from_db()
    assert row.status == "succeeded"
    assert script.calls.count("preprocess") == 1
    entry = AuditEntry.objects.get(action="observation.retry")
    assert entry.actor == actor
    assert entry.before["reason"].startswith("bad kernel. ")
    with pytest.raises(ApplicationError, match="succeeded"):
        control.retry(row, actor)


def test_a_cancelled_observation_stays_cancelled_until_retried(script: Script) -> None:
    row, actor = make_observation(), make_user()
    control.start(row)
    assert control.cancel(row, actor) == 1
    drain()
    row.refresh_from_db()
    assert (row.status, row.stage, script.calls) == ("cancelled", "preprocess", [])
    assert control.cancel(row, actor) == 0
    control.retry(row, actor)
    drain()
    row.refresh_from_db()
    assert row.status == "succeeded"


def test_a_job_cancelled_while_it_runs_writes_nothing(script: Script) -> None:
    row = make_observation()

    def service(run: ProcessingRun, progress: Progress) -> StageProduct:
        control.cancel(row, None)
        return StageProduct(metrics={"late": 1})

    stage = pipeline.STAGES[0]
    late = pipeline.Stage(stage.name, stage.title, stage.run_model, service)
    pipeline.HANDLERS["preprocess"] = lambda context: pipeline.run_stage(late, context)  # type: ignore[index]
    job = control.start(row)
    jobs.run(job.pk)
    row.refresh_from_db()
    run = ScienceImage.objects.get(observation=row)
    assert (row.status, run.status, run.metrics) == ("cancelled", "cancelled", {})
    assert not Job.objects.filter(kind="reference").exists()


def calibrated(row: Observation, **fields: Any) -> ScienceImage:
    """A frame that has been through preprocessing, its pixels not needed."""
    from tests.observations.factories import make_stored_file

    Observation.objects.filter(pk=row.pk).update(stage="reference", status="skipped")
    return ScienceImage.objects.create(
        observation=row,
        pipeline_version="1",
        status=RunStatus.SUCCEEDED,
        file=make_stored_file(),
        stars_file=make_stored_file(),
        fwhm_pix=3.0,
        sky_noise=10.0,
        **fields,
    )


def reference_of(row: Observation) -> ReferenceRun:
    calibrated(row)
    jobs.submit(jobs.NextJob("reference", row.pk, "1"))
    return run_reference(row)


def run_reference(row: Observation) -> ReferenceRun:
    job = Job.objects.get(kind="reference", subject_id=row.pk)
    Job.objects.filter(pk=job.pk).update(next_at=Now())
    jobs.run(job.pk)
    return ReferenceRun.objects.get(observation=row)


def test_a_single_earlier_epoch_is_a_reference_and_is_reused() -> None:
    survey = make_survey()
    first = calibrated(make_observation(survey, day=0))
    run = reference_of(make_observation(survey, day=1))
    assert run.status == RunStatus.SUCCEEDED
    assert run.reference is not None
    assert run.reference.file == first.file
    assert [e.science_image for e in run.reference.epochs.all()] == [first]
    again = reference_of(make_observation(survey, day=2))
    assert again.reference == run.reference
    assert again.metrics["built"] is False


@pytest.mark.parametrize(
    "other",
    [
        {"day": 2},
        {"band": "g"},
        {"ra": 151.0},
        {"dec": 2.05},
        {"role": "science"},
    ],
)
def test_a_frame_that_is_no_earlier_epoch_of_the_field_is_no_reference(
    other: dict[str, Any],
) -> None:
    survey = make_survey()
    calibrated(make_observation(survey, **{"day": 0, "target": "elsewhere", **other}))
    run = reference_of(make_observation(survey, day=1))
    assert run.status == RunStatus.SKIPPED
    assert run.reason.startswith("no reference yet")


def test_frames_of_another_survey_are_no_reference() -> None:
    calibrated(make_observation(day=0))
    assert reference_of(make_observation(day=1)).status == RunStatus.SKIPPED


def test_an_epoch_that_ends_after_the_frame_starts_is_not_earlier() -> None:
    survey = make_survey()
    late = make_observation(survey, day=0)
    row = make_observation(survey, day=30 / 86400)
    calibrated(late)
    assert late.ended_at > row.observed_at
    assert reference_of(row).status == RunStatus.SKIPPED


def test_the_survey_says_how_many_epochs_a_reference_needs() -> None:
    survey = make_survey(reference_min_epochs=2)
    calibrated(make_observation(survey, day=0))
    run = reference_of(make_observation(survey, day=1))
    assert run.status == RunStatus.SKIPPED
    assert "1 of 2" in run.reason
    assert run.numbers == {"code": "no_reference_yet", "n_epochs": 1, "n_needed": 2}


def test_named_templates_count_whatever_their_date_and_beat_earlier_epochs() -> None:
    survey = make_survey()
    calibrated(make_observation(survey, day=0))
    named = calibrated(make_observation(survey, day=9, role="template"))
    run = reference_of(make_observation(survey, day=1))
    assert run.reference is not None
    assert run.reference.is_pinned
    assert run.reference.file == named.file


def test_a_frame_without_a_date_needs_a_named_template() -> None:
    survey = make_survey()
    calibrated(make_observation(survey, day=0))
    undated = {"observed_at": None, "ended_at": None, "mid_mjd": None}
    run = reference_of(make_observation(survey, **undated))
    assert run.status == RunStatus.SKIPPED
    assert "no date" in run.reason
    calibrated(make_observation(survey, day=3, role="template"))
    assert reference_of(make_observation(survey, **undated)).status == RunStatus.SUCCEEDED


def test_frames_without_world_coordinates_are_grouped_by_target() -> None:
    survey = make_survey()
    calibrated(make_observation(survey, day=0, ra=None, target="NGC 1"))
    assert reference_of(make_observation(survey, day=1, ra=None, target="ngc 1")).reference
    other = reference_of(make_observation(survey, day=1, ra=None, target="NGC 2"))
    assert other.status == RunStatus.SKIPPED
    nameless = reference_of(make_observation(survey, day=1, ra=None, target=""))
    assert "neither world coordinates nor a target name" in nameless.reason


def test_a_frame_waits_for_earlier_ones_that_are_still_being_calibrated() -> None:
    survey = make_survey()
    earlier = make_observation(survey, day=0, stage="preprocess")
    run = reference_of(make_observation(survey, day=1))
    assert (run.status, run.reason) == (RunStatus.PENDING, "waits for 1 earlier frame")
    job = Job.objects.get(kind="reference")
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    calibrated(earlier)
    assert run_reference(run.observation).status == RunStatus.SUCCEEDED


def test_a_frame_does_not_wait_for_failed_far_or_later_ones() -> None:
    survey = make_survey()
    make_observation(survey, day=0, status="failed", stage="preprocess")
    make_observation(survey, day=0, stage="preprocess", ra=200.0)
    make_observation(survey, day=5, stage="preprocess")
    assert reference_of(make_observation(survey, day=1)).status == RunStatus.SKIPPED


def test_a_skipped_frame_is_revived_when_an_earlier_epoch_comes_late(script: Script) -> None:
    survey = make_survey()
    script.endings["reference"] = [NoWorkError("no reference yet")]
    row = make_observation(survey, day=5)
    control.start(row)
    drain()
    row.refresh_from_db()
    assert row.status == "skipped"
    late = make_observation(survey, day=1)
    control.start(late)
    drain()
    row.refresh_from_db()
    assert row.status == "succeeded"
    # a later epoch, one of another band, or one of another place revives nobody
    script.endings["reference"] = [NoWorkError("no reference yet")]
    other = make_observation(survey, day=3, band="i")
    control.start(other)
    drain()
    calls = script.calls.count("reference")
    elsewhere = {"day": 1, "band": "i", "ra": 200.0, "target": "elsewhere"}
    for fields in ({"day": 7, "band": "i"}, {"day": 0.5, "band": "z"}, elsewhere):
        control.start(make_observation(survey, **fields))
    drain()
    assert script.calls.count("reference") == calls + 3


def test_a_frame_too_small_to_calibrate_fails_with_its_size(tmp_path: Path) -> None:
    path = write_frame(tmp_path / "a.fits", shape=(20, 20))
    # ingest refuses such frames now; a row from before may still name one
    raw = put_file(path, kind=FileKind.RAW, name="a.fits", media_type="application/fits")
    row = make_observation(raw_file=raw, raw_hdu="0")
    control.start(row)
    drain()
    row.refresh_from_db()
    assert (row.status, row.stage) == ("failed", "preprocess")
    assert "too small" in row.reason
