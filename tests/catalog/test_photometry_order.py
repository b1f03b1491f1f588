"""Light curves do not hang on who is quicker: every point is measured where the object is."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import connection, connections, transaction

from astrid_site.core.stages import StageProduct
from astrid_site.core.status import RunStatus
from catalog.models import AssociationRun, AstroObject, LightCurvePoint, PhotometryRun
from catalog.services import run_associate, run_photometry
from detection.models import DetectionRun
from observations.models import Observation
from tests.catalog.factories import make_detection
from tests.catalog.small_frames import (
    ARCSEC,
    DEC,
    FWHM_ARCSEC,
    RA,
    add_difference,
    add_science,
    make_image,
)
from tests.observations.factories import make_observation, make_survey

pytestmark = pytest.mark.django_db


def make_searched(survey: object, day: float) -> DetectionRun:
    """A frame that was subtracted and searched; it and its difference can be measured on."""
    observation = make_observation(survey, day=day, ra=RA, dec=DEC)
    science = add_science(observation, make_image([4, int(100 * day)]))
    return add_difference(science, make_image([3, int(100 * day)]))


def associate(observation: Observation) -> None:
    row = AssociationRun.objects.create(
        observation=observation, pipeline_version="1", status=RunStatus.SUCCEEDED
    )
    product = run_associate(row, lambda fraction, message: None)
    with transaction.atomic():
        product.save()
    row.metrics = dict(product.metrics)
    row.save()


def measured(observation: Observation) -> StageProduct:
    """The photometry of one frame, computed and not yet saved."""
    row, _ = PhotometryRun.objects.get_or_create(observation=observation, pipeline_version="1")
    return run_photometry(row, lambda fraction, message: None)


def save(product: StageProduct) -> None:
    with transaction.atomic():
        product.save()


def found(run: DetectionRun, *, north_arcsec: float, score: float = 10.0) -> Observation:
    make_detection(run, ra=RA, dec=DEC + north_arcsec * ARCSEC, score=score)
    return run.observation


def places() -> set[tuple[float | None, float | None]]:
    return set(LightCurvePoint.objects.values_list("ra", "dec"))


def fluxes() -> dict[tuple[object, str], float | None]:
    rows = LightCurvePoint.objects.values_list("observation", "kind", "flux")
    return {(observation, kind): flux for observation, kind, flux in rows}


def test_a_point_tells_where_it_was_measured() -> None:
    first = found(make_searched(make_survey(), 1.0), north_arcsec=0.0)
    associate(first)
    save(measured(first))
    owner = AstroObject.objects.get()
    assert places() == {owner.forced_position}
    assert owner.forced_position == (owner.ra, owner.dec)


def test_a_late_writer_leaves_no_point_at_an_older_position() -> None:
    survey = make_survey()
    early = found(make_searched(survey, 1.0), north_arcsec=0.0)
    associate(early)
    slow = measured(early)
    # meanwhile a stronger detection moves the object, and is measured everywhere
    late = found(make_searched(survey, 2.0), north_arcsec=0.8, score=40.0)
    associate(late)
    save(measured(late))
    right = fluxes()
    save(slow)
    kinds = ("difference", "total")
    assert set(right) == {(frame.pk, kind) for frame in (early, late) for kind in kinds}
    assert fluxes() == right
    assert places() == {AstroObject.objects.get().forced_position}


def test_of_two_that_moved_an_object_the_last_one_has_its_way() -> None:
    survey = make_survey()
    frames = [found(make_searched(survey, 1.0), north_arcsec=0.0)]
    associate(frames[0])
    products = [measured(frames[0])]
    for day, north, score in ((2.0, 0.8, 40.0), (3.0, 0.2, 400.0)):
        frames.append(found(make_searched(survey, day), north_arcsec=north, score=score))
        associate(frames[-1])
        products.append(measured(frames[-1]))
    for product in reversed(products):
        save(product)
    assert LightCurvePoint.objects.count() == 2 * 3
    assert places() == {AstroObject.objects.get().forced_position}


def test_many_small_steps_add_up_to_a_move() -> None:
    survey = make_survey()
    for day in range(12):
        # each step is below the limit of 0.05 FWHM; together they are not
        frame = found(make_searched(survey, float(day)), north_arcsec=0.16 * day)
        associate(frame)
        save(measured(frame))
    owner = AstroObject.objects.get()
    assert LightCurvePoint.objects.count() == 2 * 12
    assert places() == {owner.forced_position}
    assert abs(owner.forced_position[1] - owner.dec) < 0.05 * FWHM_ARCSEC * ARCSEC
    assert owner.dec - DEC > 0.5 * ARCSEC


@pytest.mark.django_db(transaction=True)
def test_who_saves_while_an_object_is_being_moved_waits_and_then_sees_the_move() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: the two transactions cannot overlap")
    survey = make_survey()
    early = found(make_searched(survey, 1.0), north_arcsec=0.0)
    associate(early)
    slow = measured(early)
    late = found(make_searched(survey, 2.0), north_arcsec=0.8, score=40.0)
    row = AssociationRun.objects.create(observation=late, pipeline_version="1")
    moving = run_associate(row, lambda fraction, message: None)
    moved, saved = threading.Event(), threading.Event()

    def beside(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            finally:
                connections.close_all()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def save_late() -> None:
        assert moved.wait(timeout=10)
        save(slow)
        saved.set()

    thread = beside(save_late)
    with transaction.atomic():
        moving.save()
        moved.set()
        # the writer cannot get past an object that somebody holds
        assert not saved.wait(timeout=0.5)
    thread.join(timeout=10)
    assert saved.is_set()
    row.metrics, row.status = dict(moving.metrics), RunStatus.SUCCEEDED
    row.save()
    save(measured(late))
    assert LightCurvePoint.objects.count() == 2 * 2
    assert places() == {AstroObject.objects.get().forced_position}
