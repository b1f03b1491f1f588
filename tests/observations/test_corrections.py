"""What a person says of a frame may be corrected later, as long as nothing relies on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import call_command

from astrid_site import pipeline
from astrid_site.core import jobs
from astrid_site.core.models import AuditEntry, Job
from astrid_site.core.status import JobState, RunStatus
from differencing.models import ReferenceRun
from observations.models import Observation
from observations.services import ingest_file
from preprocessing.models import ScienceImage
from tests.observations.factories import make_survey, make_user, write_frame

pytestmark = pytest.mark.django_db


def end_at_reference(row: Observation) -> None:
    """Put a frame where one without a date ends: calibrated, then held for want of a date."""
    version = pipeline.PIPELINE_VERSION
    ScienceImage.objects.create(
        observation=row, pipeline_version=version, status=RunStatus.SUCCEEDED
    )
    ReferenceRun.objects.create(
        observation=row, pipeline_version=version, status=RunStatus.SKIPPED, reason="no date"
    )
    Job.objects.filter(subject_id=row.pk).update(state=JobState.DONE)
    reference = jobs.NextJob(kind="reference", subject_id=row.pk, config_version=version)
    Job.objects.filter(pk=jobs.submit(reference).pk).update(state=JobState.SKIPPED)
    Observation.objects.filter(pk=row.pk).update(
        status=RunStatus.SKIPPED, stage="reference", reason="no date"
    )


def test_a_corrected_sidecar_corrects_the_frame_and_begins_it_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frame(tmp_path / "a.fits", DATE_OBS=None)
    call_command("ingest", str(tmp_path), "--survey", "S", verbosity=0)
    row = Observation.objects.get()
    end_at_reference(row)
    (tmp_path / "sidecar.csv").write_text("file,observed_at\na.fits,2024-05-06T01:00:00\n")
    call_command("ingest", str(tmp_path), "--survey", "S")
    said = capsys.readouterr().out
    assert "1 updated" in said
    assert "observed_at" in said
    row.refresh_from_db()
    assert row.overrides == {"observed_at": "2024-05-06T01:00:00+00:00"}
    assert row.observed_at is not None
    assert row.observed_at.isoformat() == "2024-05-06T01:00:00+00:00"
    assert row.mid_mjd == pytest.approx(60436.0 + (3600 + 30) / 86400, abs=1e-6)
    assert (row.status, row.stage, row.reason) == ("pending", "preprocess", "")
    for model in (ScienceImage, ReferenceRun):
        assert model.objects.get(observation=row).status == RunStatus.PENDING
    assert Job.objects.get(kind="preprocess").state == JobState.QUEUED
    entry = AuditEntry.objects.get(action="observation.overrides")
    assert (entry.before, entry.after) == ({}, row.overrides)
    call_command("ingest", str(tmp_path), "--survey", "S")
    assert "1 duplicate" in capsys.readouterr().out


def test_an_upload_that_says_nothing_leaves_what_was_said(tmp_path: Path) -> None:
    survey, path = make_survey(), write_frame(tmp_path / "a.fits")
    ingest_file(path, survey=survey, file_name="a.fits", overrides={"band": "i"})
    assert ingest_file(path, survey=survey, file_name="a.fits").outcome == "duplicate"
    assert Observation.objects.get().band == "i"


def test_a_companion_named_later_is_added(tmp_path: Path) -> None:
    survey, path = make_survey(), write_frame(tmp_path / "a.fits")
    ingest_file(path, survey=survey, file_name="a.fits")
    noise = write_frame(tmp_path / "noise.fits", seed=2)
    for outcome in ("updated", "duplicate"):
        result = ingest_file(path, survey=survey, file_name="a.fits", companions={"noise": noise})
        assert result.outcome == outcome
    stored = Observation.objects.get().noise_file
    assert stored is not None
    assert stored.name == "noise.fits"


def test_a_frame_that_was_worked_through_is_not_corrected(tmp_path: Path) -> None:
    survey, path = make_survey(), write_frame(tmp_path / "a.fits")
    ingest_file(path, survey=survey, file_name="a.fits")
    Observation.objects.update(status=RunStatus.SUCCEEDED)
    result = ingest_file(path, survey=survey, file_name="a.fits", overrides={"band": "i"})
    assert (result.outcome, result.code) == ("refused", "has_results")
    assert "another survey" in result.reason
    row = Observation.objects.get()
    assert (row.band, row.overrides, row.status) == ("r", {}, "succeeded")
    assert not AuditEntry.objects.filter(action="observation.overrides").exists()


def test_whoever_may_not_change_observations_corrects_none(tmp_path: Path) -> None:
    survey, path = make_survey(), write_frame(tmp_path / "a.fits")
    ingest_file(path, survey=survey, file_name="a.fits")
    result = ingest_file(
        path, survey=survey, file_name="a.fits", overrides={"band": "i"}, submitted_by=make_user()
    )
    assert (result.outcome, result.code) == ("refused", "not_permitted")
    assert Observation.objects.get().band == "r"


def test_a_corrected_id_must_be_free(tmp_path: Path) -> None:
    survey = make_survey()
    for seed, name in ((1, "a"), (2, "b")):
        path = write_frame(tmp_path / f"{name}.fits", seed=seed)
        ingest_file(path, survey=survey, file_name=path.name)
    taken, free = (
        ingest_file(path, survey=survey, file_name="b.fits", overrides={"observation_id": name})
        for name in ("a", "c")
    )
    assert (taken.outcome, taken.code) == ("refused", "conflict")
    assert free.outcome == "updated"
    assert set(Observation.objects.values_list("observation_id", flat=True)) == {"a", "c"}
