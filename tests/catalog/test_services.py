"""Association: one object for one position, whoever comes first."""

from __future__ import annotations

import threading

import pytest
from django.db import connections, transaction

from astrid_site.core.status import RunStatus
from astrid_site.imaging.errors import NoWorkError
from catalog.models import AssociationRun, AstroObject, LightCurvePoint, ObjectDetection
from catalog.services import run_associate
from catalog.services.association import association_radius
from catalog.services.frames import frame_of
from catalog.services.points import Measured, save_points
from detection.models import DetectionRun
from tests.catalog.factories import (
    make_detection,
    make_detection_run,
    make_difference_run,
    make_object,
    make_point,
)
from tests.observations.factories import make_observation, make_survey

pytestmark = pytest.mark.django_db


def associate(run: DetectionRun) -> AssociationRun:
    """Do the stage as the pipeline does it: the product is saved in one transaction."""
    row = AssociationRun.objects.create(
        observation=run.observation, pipeline_version="1", status=RunStatus.RUNNING
    )
    product = run_associate(row, lambda fraction, message: None)
    with transaction.atomic():
        product.save()
    row.metrics = dict(product.metrics)
    row.save()
    return row


def test_a_detection_without_a_neighbour_founds_an_object() -> None:
    run = make_detection_run(make_observation(day=3))
    make_detection(run, ra=150.01, dec=2.01, score=12.0, magnitude=19.5, real_bogus=0.9, scorer="m")
    row = associate(run)
    owner = AstroObject.objects.get()
    assert owner.name.startswith("AstrID J1000")
    assert (owner.n_detections, owner.peak_score, owner.best_real_bogus) == (1, 12.0, 0.9)
    assert owner.brightest_magnitude == 19.5
    assert owner.first_detected_at == run.observation.observed_at
    assert row.metrics["moved"] == [str(owner.pk)]
    assert row.detection_run == run


def test_detections_of_two_nights_become_one_object_at_their_weighted_mean() -> None:
    # 0.4 arcsec apart, well within half of the 2 arcsec PSF
    for day, dec, score in ((1, 2.0, 30.0), (2, 2.0 + 0.4 / 3600, -10.0)):
        run = make_detection_run(make_observation(day=day))
        make_detection(run, dec=dec, score=score)
        associate(run)
    owner = AstroObject.objects.get()
    assert owner.n_detections == 2
    assert owner.peak_score == 30.0
    # the stronger detection counts for more, so the mean is nearer to it
    assert 0.0 < (owner.dec - 2.0) * 3600 < 0.2


def test_neighbours_beyond_the_radius_stay_apart() -> None:
    run = make_detection_run()
    make_detection(run, ra=150.0)
    make_detection(run, ra=150.0 + 10.0 / 3600)
    associate(run)
    assert AstroObject.objects.count() == 2


def test_both_lobes_of_one_residual_belong_to_one_object() -> None:
    run = make_detection_run()
    make_detection(run, dec=2.0, score=20.0)
    make_detection(run, dec=2.0 + 0.5 / 3600, score=-8.0)
    associate(run)
    assert AstroObject.objects.count() == 1
    assert ObjectDetection.objects.count() == 2


def test_an_object_across_ra_zero_is_recognised() -> None:
    for day, ra in ((1, 359.99999), (2, 0.00001)):
        run = make_detection_run(make_observation(day=day, ra=0.0, dec=10.0))
        make_detection(run, ra=ra, dec=10.0)
        associate(run)
    owner = AstroObject.objects.get()
    assert owner.n_detections == 2
    assert min(owner.ra, 360.0 - owner.ra) < 1e-4


def test_cut_candidates_and_those_without_a_position_found_nothing() -> None:
    run = make_detection_run()
    make_detection(run, is_kept=False)
    make_detection(run, ra=None, dec=None)
    done = associate(run)
    assert AstroObject.objects.count() == 0
    assert done.metrics["n_without_position"] == 1


def test_simulated_detections_never_join_real_objects() -> None:
    make_object(is_simulated=False)
    run = make_detection_run(make_observation(is_simulated=True))
    make_detection(run)
    associate(run)
    assert AstroObject.objects.filter(is_simulated=True).count() == 1
    assert AstroObject.objects.count() == 2


def test_a_second_object_in_one_cell_of_names_gets_a_letter() -> None:
    run = make_detection_run()
    run.metrics = {"psf_fwhm_arcsec": 0.02}
    run.save()
    make_detection(run, ra=150.000001, dec=2.000001)
    make_object(150.000001, 2.000020, name="AstrID J100000.00+020000.0", is_simulated=True)
    associate(run)
    names = sorted(AstroObject.objects.values_list("name", flat=True))
    assert names == ["AstrID J100000.00+020000.0", "AstrID J100000.00+020000.0a"]


def test_association_twice_changes_nothing() -> None:
    run = make_detection_run()
    make_detection(run)
    row = associate(run)
    with transaction.atomic():
        run_associate(row, lambda fraction, message: None).save()
    assert AstroObject.objects.get().n_detections == 1


def test_without_a_finished_search_there_is_nothing_to_join() -> None:
    row = AssociationRun.objects.create(observation=make_observation(), pipeline_version="1")
    with pytest.raises(NoWorkError):
        run_associate(row, lambda fraction, message: None)


def test_the_radius_follows_the_seeing_with_a_floor() -> None:
    run = make_detection_run()
    assert association_radius(run) == 1.0
    run.metrics = {}
    assert association_radius(run) == pytest.approx(0.3)


@pytest.mark.django_db(transaction=True)
def test_eight_frames_at_once_make_one_object_of_one_new_source() -> None:
    survey = make_survey()
    runs = [make_detection_run(make_observation(survey, day=day)) for day in range(8)]
    for run in runs:
        make_detection(run)
    errors: list[BaseException] = []

    def work(run: DetectionRun) -> None:
        try:
            associate(run)
        except Exception as error:
            errors.append(error)
            raise
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=[run]) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert AstroObject.objects.get().n_detections == 8


def test_one_object_has_one_point_on_one_difference_the_newest() -> None:
    owner, run = make_object(), make_difference_run()
    frame = frame_of(run.observation_id, version="1")
    assert frame is not None
    for flux in (1.0, 2.0):
        point = make_point(owner, run, flux=flux, flux_error=0.5)
        assert save_points([Measured(frame, (point,))]).n_saved == 1
    assert LightCurvePoint.objects.get().flux == 2.0
