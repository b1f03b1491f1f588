"""Ingest: understood before stored, idempotent, honest about conflicts."""

from __future__ import annotations

import csv
import threading
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import Event, Job, StoredFile
from observations.models import Observation
from observations.services import get_or_create_survey, ingest_file, read_sidecar
from observations.services.folders import gather, survey_for
from tests.observations.factories import make_survey, write_frame

pytestmark = pytest.mark.django_db


def test_a_frame_becomes_an_observation_with_its_first_job_and_event(tmp_path: Path) -> None:
    path = write_frame(tmp_path / "a.fits")
    result = ingest_file(path, survey=make_survey(), file_name="night/a.fits")
    assert (result.outcome, result.reason, result.file_name) == ("created", "", "a.fits")
    row = Observation.objects.get()
    assert (row.target, row.band, row.exposure_s, row.image_width) == ("M 101", "r", 60.0, 64)
    assert row.observed_at is not None
    assert row.ended_at is not None
    assert (row.ended_at - row.observed_at).total_seconds() == 60.0
    assert row.ra == pytest.approx(150.0, abs=1e-3)
    assert len(row.footprint) == 4
    job = Job.objects.get()
    assert (job.kind, job.subject_id, job.state) == ("preprocess", row.pk, "queued")
    assert Event.objects.filter(kind="observation.changed", subject_id=row.pk).count() == 1


def test_the_same_bytes_twice_are_one_observation(tmp_path: Path) -> None:
    survey, path = make_survey(), write_frame(tmp_path / "a.fits")
    first = ingest_file(path, survey=survey, file_name="a.fits")
    second = ingest_file(path, survey=survey, file_name="renamed.fits")
    assert second.outcome == "duplicate"
    assert second.observation == first.observation
    assert (Observation.objects.count(), Job.objects.count()) == (1, 1)


def test_other_bytes_under_a_known_id_are_refused_as_a_conflict(tmp_path: Path) -> None:
    survey = make_survey()
    ingest_file(
        write_frame(tmp_path / "a.fits", seed=1, OBSID="X1"), survey=survey, file_name="a.fits"
    )
    files = StoredFile.objects.count()
    result = ingest_file(
        write_frame(tmp_path / "b.fits", seed=2, OBSID="X1"), survey=survey, file_name="b.fits"
    )
    assert (result.outcome, result.code) == ("refused", "conflict")
    assert "'X1'" in result.reason
    assert "sidecar" in result.reason
    assert (Observation.objects.count(), StoredFile.objects.count()) == (1, files)


def test_equal_file_names_of_two_nights_do_not_collide(tmp_path: Path) -> None:
    survey = make_survey()
    for seed in (1, 2):
        path = write_frame(tmp_path / "image_001.fits", seed=seed)
        assert ingest_file(path, survey=survey, file_name=path.name).outcome == "created"
    names = set(Observation.objects.values_list("observation_id", flat=True))
    assert len(names) == 2
    assert "image_001" in names


def test_a_file_that_is_no_image_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(b"not a FITS file at all" * 500)
    result = ingest_file(path, survey=make_survey(), file_name="a.fits")
    assert result.outcome == "refused"
    assert result.code
    assert "a.fits" in result.reason
    counts = (Observation.objects.count(), StoredFile.objects.count(), Job.objects.count())
    assert counts == (0, 0, 0)


def test_what_the_header_does_not_say_is_null_and_named(tmp_path: Path) -> None:
    path = write_frame(tmp_path / "a.fits", DATE_OBS=None, FILTER=None, CTYPE1=None, CTYPE2=None)
    result = ingest_file(path, survey=make_survey(), file_name="a.fits")
    row = result.observation
    assert row is not None
    assert (row.observed_at, row.band, row.ra, row.footprint) == (None, "", None, [])
    assert any("band" in defect for defect in row.defects)


def test_a_sidecar_overrides_the_header_and_is_recorded(tmp_path: Path) -> None:
    path = write_frame(tmp_path / "a.fits")
    said = {"observed_at": "2018-08-04T09:00:00", "band": "i", "role": "template", "gain": "3.9"}
    row = ingest_file(path, survey=make_survey(), file_name="a.fits", overrides=said).observation
    assert row is not None
    assert (row.band, row.role) == ("i", "template")
    assert row.overrides["gain"] == 3.9
    assert row.observed_at is not None
    assert row.observed_at.isoformat() == "2018-08-04T09:00:00+00:00"
    assert row.ended_at is not None
    assert (row.ended_at - row.observed_at).total_seconds() == 60.0


@pytest.mark.parametrize(
    "said", [{"gain": "-1"}, {"role": "king"}, {"observed_at": "yesterday"}, {"colour": "red"}]
)
def test_an_impossible_override_refuses_the_file(tmp_path: Path, said: dict[str, str]) -> None:
    path = write_frame(tmp_path / "a.fits")
    result = ingest_file(path, survey=make_survey(), file_name="a.fits", overrides=said)
    assert (result.outcome, result.code) == ("refused", "bad_override")
    assert next(iter(said)) in result.reason


def test_a_companion_of_another_shape_refuses_the_file(tmp_path: Path) -> None:
    path = write_frame(tmp_path / "a.fits")
    noise = write_frame(tmp_path / "noise.fits", shape=(64, 60))
    result = ingest_file(
        path, survey=make_survey(), file_name="a.fits", companions={"noise": noise}
    )
    assert (result.outcome, result.code) == ("refused", "companion_shape")
    assert StoredFile.objects.count() == 0


def test_a_frame_too_small_to_work_on_is_refused_and_named(tmp_path: Path) -> None:
    survey = make_survey()
    for seed, shape in enumerate([(31, 64), (64, 31)]):
        path = write_frame(tmp_path / "a.fits", seed=seed, shape=shape)
        result = ingest_file(path, survey=survey, file_name="a.fits")
        assert (result.outcome, result.code) == ("refused", "too_small")
        assert result.reason.startswith(f"a.fits: {shape[1]} x {shape[0]} pixels")
    assert StoredFile.objects.count() == 0
    path = write_frame(tmp_path / "b.fits", shape=(32, 32))
    assert ingest_file(path, survey=survey, file_name="b.fits").outcome == "created"


def test_a_dry_run_stores_nothing(tmp_path: Path) -> None:
    path = write_frame(tmp_path / "a.fits")
    result = ingest_file(path, survey=make_survey(), file_name="a.fits", dry_run=True)
    assert (result.outcome, result.observation) == ("created", None)
    assert (Observation.objects.count(), StoredFile.objects.count()) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_twelve_simultaneous_submissions_give_one_observation(tmp_path: Path) -> None:
    survey, path = make_survey(), write_frame(tmp_path / "a.fits")
    outcomes: list[str] = []

    def submit() -> None:
        try:
            outcomes.append(ingest_file(path, survey=survey, file_name="a.fits").outcome)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=submit) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcomes) == ["created"] + ["duplicate"] * 11
    assert (Observation.objects.count(), Job.objects.count()) == (1, 1)


def test_a_survey_has_one_row_whatever_the_case_of_its_name() -> None:
    assert get_or_create_survey("My  Images") == get_or_create_survey("my images")
    assert get_or_create_survey("北天") == get_or_create_survey("北天")
    with pytest.raises(ApplicationError, match="survey"):
        get_or_create_survey(" ")


def test_a_sidecar_names_files_and_companions_relative_to_itself(tmp_path: Path) -> None:
    write_frame(tmp_path / "noise.fits")
    table = tmp_path / "sidecar.csv"
    table.write_text("file,band,noise\na.fits,i,noise.fits\nb.fits,,\n")
    rows = read_sidecar(table)
    assert rows["a.fits"].values == {"band": "i"}
    assert rows["a.fits"].companions == {"noise": tmp_path / "noise.fits"}
    assert rows["b.fits"].values == {}


def test_an_ecsv_sidecar_is_read_too(tmp_path: Path) -> None:
    from astropy.table import Table

    table = Table({"file": ["a.fits"], "target": ["M 31"], "gain": [2.5]})
    table.write(tmp_path / "sidecar.ecsv", format="ascii.ecsv")
    rows = read_sidecar(tmp_path / "sidecar.ecsv")
    assert rows["a.fits"].values == {"target": "M 31", "gain": 2.5}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name,band\na.fits,r\n", "file"),
        ("file,colour\na.fits,r\n", "colour"),
        ("file,gain\na.fits,big\n", "row 1"),
        ("file\na.fits\na.fits\n", "twice"),
        ("file,mask\na.fits,absent.fits\n", "absent.fits"),
    ],
)
def test_a_bad_sidecar_is_refused_with_the_place(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "sidecar.csv").write_text(text)
    with pytest.raises(ApplicationError, match=complaint):
        read_sidecar(tmp_path / "sidecar.csv")


def test_a_folder_is_searched_at_any_depth_for_images_only(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    for name in ("b.fits", "night/a.fit.gz", "night/c.txt", "night/d.gz", ".hidden.fits"):
        (tmp_path / name).write_bytes(b"x")
    assert [c.path.name for c in gather([tmp_path])] == ["b.fits", "a.fit.gz"]


def test_companions_named_in_a_table_are_no_frames(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.fits")
    write_frame(tmp_path / "a_noise.fits")
    (tmp_path / "sidecar.csv").write_text("file,noise\na.fits,a_noise.fits\n")
    found = gather([tmp_path])
    assert [c.path.name for c in found] == ["a.fits"]
    assert found[0].overrides.companions == {"noise": tmp_path / "a_noise.fits"}


def test_a_table_that_names_an_absent_file_is_refused(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.fits")
    (tmp_path / "sidecar.csv").write_text("file,band\nz.fits,r\n")
    with pytest.raises(ApplicationError, match=r"z\.fits"):
        gather([tmp_path])


def test_a_simulated_folder_says_how_many_templates_it_has(tmp_path: Path) -> None:
    (tmp_path / "simulation.json").write_text('{"n_template_epochs": 3}')
    survey = survey_for("demo", tmp_path)
    assert (survey.is_simulated, survey.reference_min_epochs) == (True, 3)


def test_the_command_reports_every_file_and_exits_1_if_any_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    folder.mkdir()
    write_frame(folder / "a.fits")
    (folder / "b.fits").write_bytes(b"rubbish" * 1000)
    report = tmp_path / "report.csv"
    with pytest.raises(CommandError, match="1 of 2") as caught:
        call_command("ingest", str(folder), "--report", str(report), verbosity=0)
    assert caught.value.returncode == 1
    rows = list(csv.DictReader(report.read_text().splitlines()))
    assert [(row["file"], row["outcome"]) for row in rows] == [
        ("a.fits", "created"),
        ("b.fits", "refused"),
    ]
    assert rows[1]["reason"]
    assert Observation.objects.get().survey.name == "night"


def test_the_command_exits_2_when_nothing_is_usable(tmp_path: Path) -> None:
    (tmp_path / "b.fits").write_bytes(b"rubbish" * 1000)
    with pytest.raises(CommandError) as caught:
        call_command("ingest", str(tmp_path), verbosity=0)
    assert caught.value.returncode == 2
    with pytest.raises(CommandError, match="no such file") as caught:
        call_command("ingest", str(tmp_path / "absent"), verbosity=0)
    assert caught.value.returncode == 2


def test_the_command_run_twice_repeats_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frame(tmp_path / "a.fits")
    for expected in ("1 created", "1 duplicate"):
        call_command("ingest", str(tmp_path), "--survey", "S")
        assert expected in capsys.readouterr().out
    assert Observation.objects.count() == 1
