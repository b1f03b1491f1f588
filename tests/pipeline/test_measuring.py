"""Every calibrated frame is measured wherever its way ends, and stands where it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from astrid_site import control, pipeline
from astrid_site.core import jobs
from astrid_site.core.models import Event, Job
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.core.status import JobState, RunStatus
from astrid_site.imaging.errors import AlgorithmError, NoWorkError
from catalog.models import AstroObject, LightCurvePoint, PhotometryRun
from catalog.selectors import light_curve
from differencing.models import DifferenceRun, ReferenceRun
from observations.models import Observation, ProcessingRun
from preprocessing.models import ScienceImage
from tests.catalog.factories import make_object
from tests.catalog.small_frames import DEC, RA, add_difference, add_science, make_image
from tests.catalog.small_frames import make_reference as make_reference_row
from tests.observations.factories import make_observation, make_survey
from tests.pipeline.drive import drain

pytestmark = pytest.mark.django_db

Service = Callable[[ProcessingRun, Progress], StageProduct]


def calibrate(run: ProcessingRun, progress: Progress) -> StageProduct:
    """A calibrated frame of empty sky."""

    def save() -> None:
        made = ScienceImage.objects.get(pk=run.pk)
        made.delete()
        image = add_science(run.observation, make_image([1]))
        # the run's own row is the product
        ScienceImage.objects.filter(pk=image.pk).delete()
        image.pk = run.pk
        image.save(force_insert=True)

    return StageProduct(metrics={}, save=save)


def give_up(run: ProcessingRun, progress: Progress) -> StageProduct:
    msg = "no reference yet: no earlier frame of this field in this band"
    raise NoWorkError(msg)


def fail(message: str) -> Service:
    def service(run: ProcessingRun, progress: Progress) -> StageProduct:
        raise AlgorithmError(message)

    return service


def nothing(run: ProcessingRun, progress: Progress) -> StageProduct:
    return StageProduct(metrics={})


def find_reference(run: ProcessingRun, progress: Progress) -> StageProduct:
    """The frame's own image as its reference."""

    def save() -> None:
        image = ScienceImage.objects.get(observation=run.observation)
        ReferenceRun.objects.filter(pk=run.pk).update(reference=make_reference_row(image))

    return StageProduct(metrics={}, save=save)


def subtract(run: ProcessingRun, progress: Progress) -> StageProduct:
    def save() -> None:
        image = ScienceImage.objects.get(observation=run.observation)
        # only the difference is wanted; the search has its own row
        DifferenceRun.objects.filter(pk=run.pk).delete()
        searched = add_difference(image, make_image([2]))
        made = searched.difference_run
        searched.delete()
        DifferenceRun.objects.filter(pk=made.pk).delete()
        made.pk = run.pk
        made.save(force_insert=True)

    return StageProduct(metrics={}, save=save)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, settings: Any) -> dict[str, Service]:
    """Preprocessing that succeeds and no reference; photometry is the real one."""
    settings.JOB_BACKOFF_S = 0.0
    made: dict[str, Service] = {
        "preprocess": calibrate,
        "reference": give_up,
        "difference": subtract,
        "detect": nothing,
        "associate": nothing,
        "photometry": pipeline.STAGE_BY_NAME["photometry"].service,
    }

    def service(name: str) -> Service:
        return lambda run, progress: made[name](run, progress)

    stages = tuple(replace(stage, service=service(stage.name)) for stage in pipeline.STAGES)
    handlers = {stage.name: partial(pipeline.run_stage, stage) for stage in stages}
    monkeypatch.setattr(pipeline, "STAGES", stages)
    monkeypatch.setattr(pipeline, "STAGE_BY_NAME", {stage.name: stage for stage in stages})
    monkeypatch.setattr(pipeline, "HANDLERS", {**pipeline.HANDLERS, **handlers})
    return made


@pytest.fixture
def owner() -> AstroObject:
    return make_object(RA, DEC)


def take_in(**fields: Any) -> Observation:
    row = make_observation(make_survey(), ra=RA, dec=DEC, **fields)
    control.start(row)
    drain()
    row.refresh_from_db()
    return row


def kinds(owner: AstroObject) -> list[str]:
    return [point.kind for point in light_curve(owner)]


def measuring_jobs() -> list[Job]:
    return list(Job.objects.filter(kind=pipeline.MEASURE))


def test_a_frame_named_as_template_is_measured_in_its_own_photometry(
    services: dict[str, Service], owner: AstroObject
) -> None:
    row = take_in(role="template")
    assert (row.status, row.stage) == ("succeeded", "photometry")
    assert kinds(owner) == ["total"]
    assert PhotometryRun.objects.get(observation=row).metrics["n_total"] == 1
    assert measuring_jobs() == []


def test_a_frame_without_a_reference_is_measured_and_stays_skipped(
    services: dict[str, Service], owner: AstroObject
) -> None:
    row = take_in()
    assert (row.status, row.stage) == ("skipped", "reference")
    assert row.reason.startswith("no reference yet")
    assert kinds(owner) == ["total"]
    (job,) = measuring_jobs()
    assert job.state == JobState.DONE
    told = Event.objects.filter(kind="observation.changed", subject_id=row.pk).order_by("pk")
    assert told.last().payload["status"] == "skipped"
    assert not PhotometryRun.objects.exists()


@pytest.mark.parametrize("stage", ["reference", "difference", "detect", "associate"])
def test_a_frame_that_fails_after_its_calibration_is_measured_and_stays_failed(
    services: dict[str, Service], owner: AstroObject, stage: str
) -> None:
    services["reference"] = find_reference
    services[stage] = fail("the difference fails")
    row = take_in()
    assert (row.status, row.stage) == ("failed", stage)
    is_subtracted = stage in {"detect", "associate"}
    assert kinds(owner) == (["difference", "total"] if is_subtracted else ["total"])


def test_a_frame_that_lies_elsewhere_is_not_measured(
    services: dict[str, Service], owner: AstroObject
) -> None:
    services["reference"] = fail("the WCS is wrong by 5.0 arcmin: this frame shows another field")
    row = take_in()
    assert row.status == "failed"
    assert ReferenceRun.objects.get().numbers["code"] == "wrong_wcs"
    assert kinds(owner) == []
    assert measuring_jobs() == []


def test_a_frame_whose_job_the_ledger_gave_up_is_measured_too(
    services: dict[str, Service], owner: AstroObject
) -> None:
    row = make_observation(make_survey(), ra=RA, dec=DEC)
    jobs.run(control.start(row).pk)
    lost = Job.objects.get(kind="reference")
    jobs.cancel(lost)
    with transaction.atomic():
        pipeline.job_lost(lost)
    drain()
    row.refresh_from_db()
    assert row.status == "failed"
    assert kinds(owner) == ["total"]


def test_no_job_is_written_where_no_object_lies(services: dict[str, Service]) -> None:
    take_in()
    assert measuring_jobs() == []


def test_a_skipped_frame_that_finds_a_reference_later_has_both_fluxes_once(
    services: dict[str, Service], owner: AstroObject
) -> None:
    row = take_in()
    services["reference"] = find_reference
    control.retry(row, None)
    drain()
    row.refresh_from_db()
    assert (row.status, row.stage) == ("succeeded", "photometry")
    assert kinds(owner) == ["difference", "total"]
    assert LightCurvePoint.objects.count() == 2


def test_epochs_are_measured_again_when_a_reference_is_built_of_them(
    services: dict[str, Service], owner: AstroObject
) -> None:
    survey = make_survey()
    first = make_observation(survey, ra=RA, dec=DEC, day=1)
    control.start(first)
    drain()
    assert [point.flags for point in light_curve(owner)] == [["OWN_WCS"]]

    def build(run: ProcessingRun, progress: Progress) -> StageProduct:
        def save() -> None:
            epoch = ScienceImage.objects.get(observation=first)
            assert isinstance(run, ReferenceRun)
            run.reference = make_reference_row(epoch)
            run.save(update_fields=["reference"])

        return StageProduct(metrics={"built": True}, save=save)

    # the first frame was looked for a reference before, and ends as it did
    services["reference"] = lambda run, progress: (
        give_up(run, progress) if run.observation_id == first.pk else build(run, progress)
    )
    control.start(make_observation(survey, ra=RA, dec=DEC, day=5))
    drain()
    first.refresh_from_db()
    assert (first.status, first.stage) == ("skipped", "reference")
    curve = [(point.observation == first, point.kind, point.flags) for point in light_curve(owner)]
    assert curve == [
        (True, "total", []),
        (False, "difference", []),
        (False, "total", []),
    ]


def test_measuring_that_was_cancelled_is_done_when_the_frame_is_tried_again(
    services: dict[str, Service], owner: AstroObject
) -> None:
    row = make_observation(make_survey(), ra=RA, dec=DEC)
    jobs.run(control.start(row).pk)
    jobs.run(Job.objects.get(kind="reference").pk)
    assert control.cancel(row, None) == 1
    row.refresh_from_db()
    assert (row.status, kinds(owner)) == ("skipped", [])
    control.retry(row, None)
    drain()
    row.refresh_from_db()
    assert (row.status, kinds(owner)) == ("skipped", ["total"])


def test_a_frame_that_begins_anew_forgets_what_was_measured_with_the_old_values(
    services: dict[str, Service], owner: AstroObject
) -> None:
    row = take_in()
    assert kinds(owner) == ["total"]
    control.restart(row)
    assert kinds(owner) == []
    drain()
    assert kinds(owner) == ["total"]
    row.refresh_from_db()
    assert row.status == RunStatus.SKIPPED


def test_a_frame_reads_succeeded_only_when_none_of_its_stages_is_under_way(
    services: dict[str, Service], owner: AstroObject
) -> None:
    seen: list[tuple[str, str]] = []

    def look(run: ProcessingRun, when: str) -> None:
        row = Observation.objects.get(pk=run.observation_id)
        seen.append((when, row.status))

    def watched(name: str, service: Service) -> Service:
        def watch(run: ProcessingRun, progress: Progress) -> StageProduct:
            look(run, f"{name} begins")
            product = service(run, progress)

            def save() -> None:
                product.save()
                look(run, f"{name} saves")

            return replace(product, save=save)

        return watch

    services["reference"] = find_reference
    for name, service in list(services.items()):
        services[name] = watched(name, service)
    row = take_in()
    assert row.status == "succeeded"
    assert len(seen) == 2 * len(services)
    assert {status for _, status in seen} == {"running"}
    events = Event.objects.filter(subject_id=row.pk).order_by("pk").values_list("kind", "payload")
    told = [(kind, payload.get("status") or payload.get("kind")) for kind, payload in events]
    # both are written in the transaction that ends the last stage
    assert told[-2:] == [("job.done", "photometry"), ("observation.changed", "succeeded")]
    assert told.count(("observation.changed", "succeeded")) == 1


def test_measuring_twice_changes_nothing(services: dict[str, Service], owner: AstroObject) -> None:
    take_in()
    (job,) = measuring_jobs()
    before = list(LightCurvePoint.objects.values_list("pk", "flux"))
    assert jobs.retry(job)
    drain()
    assert list(LightCurvePoint.objects.values_list("pk", "flux")) == before
