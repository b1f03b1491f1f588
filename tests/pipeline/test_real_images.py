"""The whole pipeline on real images with known answers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command

from catalog.models import AstroObject, ObjectDetection
from detection.models import Detection
from differencing.models import DifferenceRun
from observations.models import Observation
from tests.pipeline.drive import drain

pytestmark = [pytest.mark.django_db, pytest.mark.real_data, pytest.mark.slow]


def take_in(
    folder: Path, rows: list[dict[str, Any]], *, images: Path, survey: str = "real"
) -> None:
    """Ingest the frames of a sidecar table (paths relative to ``images``) and work them off."""
    table = folder / "sidecar.csv"
    names = sorted({name for row in rows for name in row} - {"file"})
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["file", *names])
        writer.writeheader()
        companions = ("mask", "noise", "psf")
        for row in rows:
            told = {k: str(images / v) if k in companions else v for k, v in row.items()}
            writer.writerow(told | {"file": Path(row["file"]).name})
    paths = [str(images / row["file"]) for row in rows]
    call_command("ingest", *paths, "--survey", survey, "--sidecar", str(table), verbosity=0)
    drain()


def kept_near(x: float, y: float, radius: float = 2.0) -> list[Detection]:
    rows = Detection.objects.filter(is_kept=True).select_related("observation")
    return [row for row in rows if np.hypot(row.x - x, row.y - y) <= radius]


def endings() -> list[tuple[str, str, str, str]]:
    return [(o.observation_id, o.status, o.stage, o.reason) for o in Observation.objects.all()]


def test_the_decam_transient_is_found_in_its_night_and_forms_one_object(
    test_data: Path, tmp_path: Path
) -> None:
    images = test_data / "decam_2018_transient" / "input_data"
    # the headers all carry the date of one frame: the table tells the nights
    rows = [
        {
            "file": f"DEC-OBS{night:02d}{letter}.mini.fits",
            "observation_id": f"OBS{night:02d}{letter}",
            "observed_at": f"2018-08-{night:02d}T0{i + 1}:00:00",
            "target": "DECam field",
            "role": "template" if night == 18 else "science",
        }
        for night in (4, 18)
        for i, letter in enumerate("abcde")
    ]
    take_in(tmp_path, rows, images=images)
    found = kept_near(127.9, 127.5)
    assert len({row.observation_id for row in found}) >= 4, endings()
    assert all(row.score > 0 for row in found)
    owners = set(
        ObjectDetection.objects.filter(detection__in=found).values_list("astro_object", flat=True)
    )
    assert len(owners) == 1
    owner = AstroObject.objects.get(pk=owners.pop())
    assert owner.ra == pytest.approx(318.1082, abs=5e-4)
    assert owner.dec == pytest.approx(-66.0157, abs=2e-4)


def test_the_nircam_source_has_faded_at_its_known_significance(
    test_data: Path, tmp_path: Path
) -> None:
    stem = "jw{0}_nircam_clear-f200w_i2d_stamp"
    first = stem.format("01324001001-01324-o001_t001")
    second = stem.format("02561001002-02561-o001_t003")
    rows: list[dict[str, Any]] = [
        {
            "file": f"input_data/{first}.fits",
            "observed_at": "2022-06-29T00:00:00",
            "role": "template",
            "noise": f"auxiliary/{first}.noise.fits",
            "psf": f"auxiliary/{first}.WebbPSF.fits",
        },
        {
            "file": f"input_data/{second}.fits",
            "observed_at": "2022-11-02T00:00:00",
            "noise": f"auxiliary/{second}.noise.fits",
            "psf": f"auxiliary/{second}.WebbPSF.fits",
        },
    ]
    take_in(tmp_path, rows, images=test_data / "jwst_nircam_a2744")
    assert DifferenceRun.objects.filter(status="succeeded").count() == 1, endings()
    near = kept_near(233.0, 646.0)
    assert len(near) == 1, [(row.x, row.y, row.score) for row in kept_near(233.0, 646.0, 6.0)]
    assert -13.0 <= near[0].score <= -8.0
    metrics = DifferenceRun.objects.get(status="succeeded").metrics
    # drizzling correlates neighbours by 0.37; what is left must be white and of unit width
    assert abs(metrics["lag1_propagated"]) > 0.2
    assert abs(metrics["lag1"]) < 0.05
    assert metrics["pull_width_propagated"] == pytest.approx(1.0, abs=0.05)


def test_two_frames_of_one_night_differ_by_nothing(test_data: Path, tmp_path: Path) -> None:
    rows = [{"file": f"aligned_eso085-030-00{i}.fit"} for i in (4, 5)]
    take_in(tmp_path, rows, images=test_data / "eso085_same_night_pair")
    ends = {o.status for o in Observation.objects.all()}
    assert ends == {"skipped", "succeeded"}, endings()
    assert Observation.objects.filter(ra__isnull=True).count() == 2
    assert Detection.objects.filter(is_kept=True).count() <= 2


def test_a_wcs_that_is_wrong_by_arcminutes_is_flagged_and_not_differenced(
    test_data: Path, tmp_path: Path
) -> None:
    told = {"target": "spiral", "band": "r"}
    rows = [
        {
            **told,
            "file": "PS1_r.fits",
            "observation_id": "PS1",
            "observed_at": "2012-04-11T00:00:00",
            "role": "template",
        },
        {
            **told,
            "file": "SDSS_r.fits",
            "observation_id": "SDSS",
            "observed_at": "2003-08-21T00:00:00",
            "role": "science",
        },
    ]
    take_in(tmp_path, rows, images=test_data / "spiral_3surveys")
    row = Observation.objects.get(observation_id="SDSS")
    assert row.status == "failed", endings()
    assert "WCS is wrong" in row.reason
    assert not DifferenceRun.objects.filter(status="succeeded").exists()
