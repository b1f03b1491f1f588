"""Difference and total flux of one object: who gets which, and that neither hangs on the order."""

from __future__ import annotations

import math
import threading
from itertools import permutations

import pytest
from django.db import IntegrityError, connection, connections, transaction

from astrid_site.core.errors import NotYetError
from astrid_site.core.stages import StageProduct
from astrid_site.core.status import RunStatus
from catalog.models import AstroObject, LightCurvePoint, PhotometryRun
from catalog.pages import chart_points, epoch_table
from catalog.selectors import light_curve
from catalog.services import run_measure, run_photometry
from differencing.models import DifferenceRun, ReferenceRun
from observations.models import Observation, Survey
from preprocessing.models import ScienceImage
from tests.catalog.factories import make_difference_run, make_object, make_point
from tests.catalog.small_frames import (
    DEC,
    RA,
    SIZE,
    add_difference,
    add_science,
    make_image,
    make_reference,
    make_wcs,
)
from tests.observations.factories import make_observation, make_survey

pytestmark = pytest.mark.django_db

FLUX = 400.0
GAINED = 150.0
MIDDLE = (SIZE - 1) / 2


def calibrate(survey: Survey, day: float, flux: float = FLUX, **fields: object) -> ScienceImage:
    """A calibrated frame with a star in its middle."""
    observation = make_observation(survey, day=day, ra=RA, dec=DEC, **fields)
    stars = [(MIDDLE, MIDDLE, flux)] if flux else []
    return add_science(observation, make_image([5, int(10 * day)], stars))


def subtract(image: ScienceImage, *epochs: ScienceImage) -> None:
    """Its difference against a reference made of earlier frames; the star has gained."""
    reference = make_reference(*epochs) if epochs else None
    day = image.observation.mid_mjd
    add_difference(image, make_image([6, int(10 * day)], [(MIDDLE, MIDDLE, GAINED)]), reference)


def photometry(observation: Observation) -> StageProduct:
    run, _ = PhotometryRun.objects.get_or_create(observation=observation, pipeline_version="1")
    return run_photometry(run, lambda fraction, message: None)


def measure(observation: Observation) -> StageProduct:
    return run_measure(observation, lambda fraction, message: None, version="1")


def save(product: StageProduct) -> None:
    with transaction.atomic():
        product.save()


def said(owner: AstroObject) -> list[tuple[float | None, str, float | None, list[str]]]:
    return [(p.mjd, p.kind, p.flux, p.flags) for p in light_curve(owner)]


def test_a_subtracted_frame_gives_both_fluxes_each_on_its_own_image() -> None:
    owner, image = make_object(RA, DEC), calibrate(make_survey(), 5.0)
    subtract(image)
    product = photometry(image.observation)
    save(product)
    difference, total = light_curve(owner)
    assert (difference.kind, total.kind) == ("difference", "total")
    for point, true in ((difference, GAINED), (total, FLUX)):
        assert point.flux is not None
        assert abs(point.flux - true) < 4.0 * point.flux_error
        assert point.magnitude == pytest.approx(25.0 - 2.5 * math.log10(point.flux))
    assert (product.metrics["n_difference"], product.metrics["n_total"]) == (1, 1)


def test_a_template_frame_that_comes_after_the_object_has_its_total_alone() -> None:
    owner = make_object(RA, DEC)
    image = calibrate(make_survey(), 1.0, role=Observation.Role.TEMPLATE)
    save(photometry(image.observation))
    (point,) = light_curve(owner)
    assert (point.kind, point.difference_run, point.flags) == ("total", None, ["OWN_WCS"])
    assert point.flux is not None
    assert abs(point.flux - FLUX) < 4.0 * point.flux_error


def test_an_epoch_of_the_reference_is_flagged_and_has_no_invented_number() -> None:
    survey, owner = make_survey(), make_object(RA, DEC)
    early, late = calibrate(survey, 1.0), calibrate(survey, 5.0, FLUX + GAINED)
    subtract(late, early)
    save(photometry(late.observation))
    save(measure(early.observation))
    first, total, difference, _ = light_curve(owner)
    assert (first.observation, first.kind, first.flux) == (early.observation, "difference", None)
    assert first.flags == ["REFERENCE"]
    assert first.flux_error is first.magnitude is first.limiting_magnitude is None
    # one epoch is its own reference: nothing is there to tie it to
    assert (total.kind, total.flags) == ("total", [])
    assert difference.flags == []
    assert LightCurvePoint.objects.count() == 3


def test_an_epoch_of_another_reference_than_the_objects_is_not_flagged() -> None:
    survey, owner = make_survey(), make_object(RA, DEC)
    early, late = calibrate(survey, 1.0), calibrate(survey, 5.0)
    make_reference(early)
    subtract(late)
    for image in (early, late):
        save(measure(image.observation))
    assert [(p.kind, p.flags) for p in light_curve(owner)] == [
        ("total", []),
        ("difference", []),
        ("total", []),
    ]


def test_a_frame_in_a_reference_that_was_itself_subtracted_keeps_its_difference() -> None:
    survey, owner = make_survey(), make_object(RA, DEC)
    first, second, third = (calibrate(survey, day) for day in (1.0, 2.0, 3.0))
    subtract(second, first)
    subtract(third, first, second)
    for image in (first, second, third):
        save(measure(image.observation))
    flags = [p.flags for p in light_curve(owner, kind="difference")]
    assert flags == [["REFERENCE"], [], []]


def test_the_light_curve_is_the_same_in_whatever_order_frames_are_measured() -> None:
    survey, owner = make_survey(), make_object(RA, DEC)
    images = [calibrate(survey, day) for day in (1.0, 2.0, 3.0)]
    subtract(images[2], images[0])
    products = [measure(image.observation) for image in images]
    seen = []
    for order in permutations(products):
        LightCurvePoint.objects.all().delete()
        for product in order:
            save(product)
        seen.append(said(owner))
    assert len(seen[0]) == 5
    assert all(one == seen[0] for one in seen)


def test_what_was_measured_before_the_frame_was_subtracted_is_not_saved_after_it() -> None:
    owner, image = make_object(RA, DEC), calibrate(make_survey(), 5.0)
    slow = measure(image.observation)
    subtract(image)
    right = photometry(image.observation)
    save(right)
    wanted = said(owner)
    with pytest.raises(NotYetError, match="changed while"):
        save(slow)
    assert said(owner) == wanted


def test_what_was_measured_before_the_frame_was_calibrated_anew_is_not_saved() -> None:
    owner, image = make_object(RA, DEC), calibrate(make_survey(), 5.0)
    slow = measure(image.observation)
    ScienceImage.objects.filter(pk=image.pk).update(status=RunStatus.PENDING)
    with pytest.raises(NotYetError):
        save(slow)
    assert light_curve(owner) == []


@pytest.mark.django_db(transaction=True)
def test_who_subtracts_a_frame_while_it_is_measured_waits_and_then_sees_the_job_ended() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: the two transactions cannot overlap")
    make_object(RA, DEC)
    image = calibrate(make_survey(), 5.0)
    product = measure(image.observation)
    is_subtracted = threading.Event()

    def work() -> None:
        try:
            subtract(image)
            is_subtracted.set()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    with transaction.atomic():
        product.save()
        thread.start()
        # the measurement holds the image until its commit
        assert not is_subtracted.wait(timeout=0.5)
    thread.join(timeout=20)
    assert is_subtracted.is_set()


@pytest.mark.parametrize("model", [ReferenceRun, DifferenceRun])
def test_a_frame_that_lies_elsewhere_than_it_says_loses_its_points(
    model: type[ReferenceRun] | type[DifferenceRun],
) -> None:
    owner, image = make_object(RA, DEC), calibrate(make_survey(), 5.0)
    save(measure(image.observation))
    assert len(light_curve(owner)) == 1
    model.objects.create(
        observation=image.observation,
        pipeline_version="1",
        status=RunStatus.FAILED,
        numbers={"code": "wrong_wcs"},
    )
    save(measure(image.observation))
    assert light_curve(owner) == []


def test_a_frame_without_a_psf_says_so_and_gives_no_number() -> None:
    owner, survey = make_object(RA, DEC), make_survey()
    observation = make_observation(survey, ra=RA, dec=DEC)
    add_science(observation, make_image([7]).with_(psf=None))
    save(measure(observation))
    (point,) = light_curve(owner)
    assert (point.flux, point.flags) == (None, ["NO_PSF", "OWN_WCS"])


def test_the_total_is_measured_where_the_reference_puts_the_object() -> None:
    # the frame's own header is wrong by 3 pixels; its difference was tied to the reference
    owner, survey = make_object(RA, DEC), make_survey()
    observation = make_observation(survey, ra=RA, dec=DEC)
    own = make_image([8], [(MIDDLE, MIDDLE, FLUX)]).with_(wcs=make_wcs(shift_pix=3.0))
    image = add_science(observation, own)
    add_difference(image, make_image([9]))
    save(photometry(observation))
    (total,) = light_curve(owner, kind="total")
    assert total.flux is not None
    assert abs(total.flux - FLUX) < 4.0 * total.flux_error


@pytest.mark.parametrize("kind", ["difference", "total"])
def test_the_database_refuses_a_point_whose_kind_and_difference_disagree(kind: str) -> None:
    point = make_point(make_object(), make_difference_run(), kind=kind)
    if kind == "difference":
        point.difference_run = None
    with pytest.raises(IntegrityError), transaction.atomic():
        point.save()


def test_charts_and_table_keep_the_two_fluxes_apart_and_name_the_reference() -> None:
    survey, owner = make_survey(), make_object(RA, DEC)
    early, late = calibrate(survey, 1.0), calibrate(survey, 5.0, FLUX + GAINED)
    subtract(late, early)
    for image in (early, late):
        save(measure(image.observation))
    curve = light_curve(owner)
    charts = chart_points(curve)
    assert charts.flux is not None
    assert charts.total is not None
    assert len(charts.flux.wide.marks) == 1
    (mark,) = charts.flux.wide.references
    assert mark.text.endswith("part of the reference, its difference is zero by construction")
    assert mark.x < charts.flux.wide.marks[0].x
    assert len(charts.total.wide.marks) == 2
    assert charts.total.wide.references == ()
    assert charts.total.wide.y_label == "total magnitude (AB)"
    assert (charts.n_points, charts.n_totals) == (1, 2)
    first, second = epoch_table(curve).rows
    assert (first.is_reference, second.is_reference) == (True, False)
    assert first.notes == ["part of the reference: its difference is zero by construction"]
    assert second.notes == []
    assert (second.difference is not None, second.total is not None) == (True, True)
