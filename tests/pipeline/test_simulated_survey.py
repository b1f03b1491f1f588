"""The whole pipeline on a simulated survey, judged by its truth."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from django.core.management import call_command

from astrid_site.core.jobs import submit
from astrid_site.core.models import Event, Job
from astrid_site.imaging.simulation import SkyConfig, write_survey
from astrid_site.pipeline import MEASURE, STAGE_BY_NAME, job_of
from catalog.models import AstroObject, LightCurvePoint, ObjectDetection
from catalog.selectors import cone_search, light_curve
from detection.models import Detection, DetectionRun
from detection.selectors import cutouts, why_here
from detection.services.campaign import frames_to_inject, inject_and_recover
from differencing.models import DifferenceRun, ReferenceImage, ReferenceRun
from observations.models import Observation
from preprocessing.models import ScienceImage
from tests.pipeline.drive import drain

CONFIG = SkyConfig(
    seed=5,
    n_fields=1,
    n_epochs=4,
    shape=(384, 384),
    supernovae_per_field=10,
    asteroids_per_field=1,
    peak_snr_range=(20.0, 80.0),
)


@dataclass(frozen=True)
class Night:
    """A processed survey and its truth."""

    truth: Table
    folder: Path


@pytest.fixture(scope="module")
def night(module_database: None, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Four epochs of one field, taken in and worked off."""
    folder = tmp_path_factory.mktemp("survey")
    truth = Table.read(write_survey(CONFIG, folder), format="ascii.ecsv")
    call_command("ingest", str(folder), "--survey", "Simulated", verbosity=0)
    drain()
    return Night(truth, folder)


pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("night"), pytest.mark.slow]


def frames() -> list[Observation]:
    return list(Observation.objects.order_by("observed_at"))


def significant(truth: Table) -> Table:
    """Supernova epochs that no detector may miss: over twice the S/N asked for, and alone."""
    wanted = (truth["kind"] == "supernova") & (truth["snr_difference"] > 12) & ~truth["masked"]
    alone = [
        np.sort(np.hypot(same["x"] - row["x"], same["y"] - row["y"]))[1] > 12.0
        for row in truth
        for same in [truth[truth["file"] == row["file"]]]
    ]
    return truth[wanted & np.array(alone)]


def test_templates_are_skipped_with_a_reason_and_all_other_frames_succeed() -> None:
    ends = [(row.status, row.stage) for row in frames()]
    assert ends == [
        ("skipped", "reference"),
        ("skipped", "reference"),
        ("succeeded", "photometry"),
        ("succeeded", "photometry"),
    ]
    assert frames()[0].reason.startswith("no reference yet")
    assert not Job.objects.exclude(state__in=["done", "skipped"]).exists()


def test_the_reference_is_built_once_of_the_two_clean_epochs_and_reused() -> None:
    reference = ReferenceImage.objects.get()
    names = {e.science_image.observation.observation_id for e in reference.epochs.all()}
    assert names == {row.observation_id for row in frames()[:2]}
    assert reference.last_ended_at == frames()[1].ended_at
    runs = ReferenceRun.objects.filter(status="succeeded")
    assert {run.reference for run in runs} == {reference}
    assert sorted(run.metrics["built"] for run in runs) == [False, True]


def test_every_significant_supernova_is_found_and_becomes_one_object(night: Night) -> None:
    wanted = significant(night.truth)
    assert len(wanted) >= 4
    for entry in wanted:
        near = Detection.objects.filter(
            observation__raw_file__name=entry["file"],
            is_kept=True,
            x__range=(entry["x"] - 2, entry["x"] + 2),
            y__range=(entry["y"] - 2, entry["y"] + 2),
        )
        assert near.count() == 1, f"{entry['object_id']} in {entry['file']}"
        assert len(cone_search(entry["ra"], entry["dec"], 2.0)) == 1


def test_light_curves_hold_every_difference_and_the_true_flux(night: Night) -> None:
    pulls = []
    for entry in significant(night.truth):
        (owner,) = cone_search(entry["ra"], entry["dec"], 2.0)
        curve = light_curve(owner, kind="difference")
        points = {p.observation.raw_file.name: p for p in curve if p.flags != ["REFERENCE"]}
        assert len(points) == 2
        point = points[entry["file"]]
        assert point.flux is not None
        assert point.flux_error is not None
        true = entry["flux_adu"] - entry["reference_flux_adu"]
        # the flux scale of a frame is fitted to its stars: 2 % beside the error of the pixels
        pulls.append((point.flux - true) / np.hypot(point.flux_error, 0.02 * true))
    assert np.abs(pulls).max() < 4.0
    assert abs(np.mean(pulls)) < 3.0 / np.sqrt(len(pulls))


def test_nothing_is_found_where_nothing_happened(night: Night) -> None:
    strange = []
    for row in Detection.objects.filter(is_kept=True).select_related("observation__raw_file"):
        here = night.truth[night.truth["file"] == row.observation.raw_file.name]
        if np.hypot(here["x"] - row.x, here["y"] - row.y).min() > 6.0:
            strange.append((row.observation.observation_id, row.x, row.y, row.score))
    # one per million pixels is allowed; these are 0.3 million
    assert len(strange) <= 1, strange


def test_detections_carry_their_pixels_their_cuts_and_their_place() -> None:
    row = Detection.objects.filter(is_kept=True, score__gt=10).order_by("-score").first()
    assert row is not None
    planes = cutouts(row)
    assert planes.shape == (4, 63, 63)
    # the score in the middle of its own cutout is the candidate's
    assert np.nanmax(planes[3][29:34, 29:34]) == pytest.approx(row.score, rel=0.05)
    rows = why_here(row)
    assert all(cut["kept"] for cut in rows)
    assert rows[0]["margin"] == min(c["margin"] for c in rows if c["margin"] is not None)
    assert row.ra is not None
    assert (row.magnitude is None) == (row.flux < 3 * row.flux_error)


def test_every_run_says_what_it_did_with_what() -> None:
    for model in (ScienceImage, DifferenceRun, DetectionRun):
        for run in model.objects.filter(status="succeeded"):
            assert run.code_version
            assert run.parameters
            assert run.metrics
            assert all(len(value) == 64 for value in run.inputs.values())
            assert run.finished_at is not None
            assert run.started_at is not None
            assert run.started_at <= run.finished_at


def test_live_pages_were_told() -> None:
    kinds = set(Event.objects.values_list("kind", flat=True))
    assert {"observation.changed", "detection.found", "object.changed", "job.done"} <= kinds


def test_the_simulation_is_marked_on_everything_made_of_it() -> None:
    assert all(row.is_simulated for row in Observation.objects.all())
    assert all(row.is_simulated for row in AstroObject.objects.all())


@pytest.fixture(scope="module")
def counts_of_two_runs(night: Night) -> tuple[dict[str, int], dict[str, int]]:
    """Rows after every job ran, and after every job ran once more."""
    before = counts()
    for job in Job.objects.exclude(kind=MEASURE):
        submit(job_of(STAGE_BY_NAME[job.kind], job.subject_id), revive=True)
    drain()
    return before, counts()


def test_running_every_job_again_changes_nothing(
    counts_of_two_runs: tuple[dict[str, int], dict[str, int]],
) -> None:
    once, twice = counts_of_two_runs
    assert once == twice
    assert once["Detection"] > 0


def counts() -> dict[str, int]:
    tables = (Detection, AstroObject, ObjectDetection, LightCurvePoint, ReferenceImage, Job)
    rows = {table.__name__: table.objects.count() for table in tables}
    # frames that are skipped once more are measured once more, to the same end
    return rows | {"Job": Job.objects.exclude(kind=MEASURE).count()}


def test_no_thread_of_the_ledger_is_left() -> None:
    assert not [t for t in threading.enumerate() if t.name.startswith("lease-")]


def test_sources_put_into_a_raw_frame_come_out_at_the_end_and_leave_no_trace(
    tmp_path: Path,
) -> None:
    counted = (Observation, ScienceImage, DifferenceRun, DetectionRun, Detection, AstroObject, Job)
    before = [model._default_manager.count() for model in counted]
    run = frames_to_inject().first()
    assert run is not None
    found = inject_and_recover(run, round_number=0, seed=1)
    limit = run.difference_run.science_image.limiting_magnitude
    bright = [each for each in found if each.magnitude < limit - 1.5]
    faint = [each for each in found if each.magnitude > limit + 0.7]
    assert len(bright) >= 8
    # four times the limiting flux and more: each is seen, though a cut may take one on a galaxy
    assert [each.outcome for each in bright].count("not found") <= 1
    assert sum(each.is_recovered for each in bright) >= 0.6 * len(bright)
    assert all(each.outcome == "not found" for each in faint)
    assert all(each.band and each.ra is not None for each in found)
    # the same seed puts in the same sources
    assert inject_and_recover(run, round_number=0, seed=1) == found

    output = tmp_path / "sources.json"
    said = StringIO()
    call_command("run_campaign", frames=1, rounds=1, seed=1, output=output, stdout=said)
    assert "against distance to the nearest galaxy" in said.getvalue()
    rows = json.loads(output.read_text())
    assert all(row["is_injected"] for row in rows)
    assert [row["outcome"] for row in rows] == [each.outcome for each in found]
    assert [model._default_manager.count() for model in counted] == before
