"""The ingest command says what became of every file it was pointed at."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from astrid_site.core.models import StoredFile
from tests.observations.factories import write_frame

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.django_db
def test_files_without_an_image_name_are_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "night"
    (folder / "deep").mkdir(parents=True)
    write_frame(folder / "a.fits")
    (folder / "sidecar.csv").write_text("file,band\na.fits,i\n")
    for name in ("notes.txt", "deep/image.fits.Z"):
        (folder / name).write_bytes(b"x")
    report = tmp_path / "report.csv"
    call_command("ingest", str(folder), "--report", str(report))
    assert "2 ignored: not an image name" in capsys.readouterr().out
    rows = csv.DictReader(report.read_text().splitlines())
    told = [(row["file"], row["outcome"], row["reason"]) for row in rows]
    assert told == [
        ("a.fits", "created", ""),
        ("image.fits.Z", "ignored", "not an image name"),
        ("notes.txt", "ignored", "not an image name"),
    ]


@pytest.mark.django_db
def test_the_report_lists_files_in_order_though_calibration_frames_come_in_first(
    tmp_path: Path,
) -> None:
    names = ["a.fits", "bias-1.fits", "c.fits", "flat-1.fits"]
    for seed, name in enumerate(reversed(names)):
        write_frame(tmp_path / name, seed=seed)
    report = tmp_path / "report.csv"
    call_command("ingest", str(tmp_path), "--report", str(report), verbosity=0)
    assert [row["file"] for row in csv.DictReader(report.read_text().splitlines())] == names


@pytest.mark.django_db
def test_what_looks_like_a_companion_of_a_neighbour_is_held_back(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    (folder / "other").mkdir(parents=True)
    frames = ("a.fits", "b_drz_sci.fits", "unmasked.fits", "other/c.noise.fits", "e_mask.fits")
    planes = ("a.noise.fits", "a.WebbPSF.fits", "a.mask4sfft.fits.gz", "b_drz_wht.fits")
    for seed, name in enumerate((*frames, "e.fits", *planes)):
        write_frame(folder / name, seed=seed)
    # a row of its own says that it is a frame, whatever its name
    (folder / "sidecar.csv").write_text("file,band\ne_mask.fits,i\n")
    report = tmp_path / "report.csv"
    with pytest.raises(CommandError, match="4 of 10"):
        call_command("ingest", str(folder), "--report", str(report), verbosity=0)
    rows = list(csv.DictReader(report.read_text().splitlines()))
    held = {row["file"]: row for row in rows if row["outcome"] == "refused"}
    assert set(held) == set(planes)
    assert {row["code"] for row in held.values()} == {"looks_like_companion"}
    assert "companion of a.fits" in held["a.noise.fits"]["reason"]
    assert "sidecar's noise, mask or psf column" in held["b_drz_wht.fits"]["reason"]


@pytest.mark.django_db
def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_frame(tmp_path / "a.fits")
    call_command("ingest", str(tmp_path), "--survey", "A new survey", "--dry-run")
    assert "would be taken in" in capsys.readouterr().out
    tables = [model for model in apps.get_models() if model._meta.app_label == "observations"]
    assert {model.__name__: model._default_manager.count() for model in tables} == dict.fromkeys(
        (model.__name__ for model in tables), 0
    )
    assert not StoredFile.objects.exists()


def test_a_database_without_tables_gives_one_line(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.fits")
    process = subprocess.run(
        [sys.executable, "manage.py", "ingest", str(tmp_path / "a.fits"), "--verbosity", "0"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "astrid_site.settings",
            "ASTRID_DATA_DIR": str(tmp_path / "data"),
            "DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    assert process.stderr.count("\n") == 1
    assert "manage.py migrate" in process.stderr
