"""Reading the catalogue: cones that are exact, pages that cost two queries."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import LightCurvePoint
from catalog.selectors import cone_search, object_list, object_page, objects_near
from catalog.services.frames import frames_near
from tests.catalog.factories import (
    make_difference_run,
    make_member,
    make_object,
    make_science_image,
)
from tests.observations.factories import make_observation, make_survey

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("ra", "dec", "inside", "outside"),
    [
        (0.0001, 10.0, (359.9999, 10.0), (359.99, 10.0)),
        (10.0, 89.9999, (190.0, 89.9999), (190.0, 89.99)),
        (200.0, -90.0, (77.0, -89.9995), (77.0, -89.99)),
    ],
)
def test_a_cone_is_exact_at_the_poles_and_across_ra_zero(
    ra: float, dec: float, inside: tuple[float, float], outside: tuple[float, float]
) -> None:
    wanted = make_object(*inside)
    make_object(*outside)
    found = cone_search(ra, dec, 3.0)
    assert [row.pk for row in found] == [wanted.pk]
    assert 0.0 < found[0].separation_arcsec <= 3.0  # type: ignore[attr-defined]


def test_a_cone_lists_the_nearest_first() -> None:
    rows = [make_object(150.0, 2.0 + step / 3600) for step in (3.0, 1.0, 2.0)]
    assert [row.pk for row in cone_search(150.0, 2.0, 5.0)] == [rows[i].pk for i in (1, 2, 0)]
    with pytest.raises(ValueError, match="radius"):
        cone_search(150.0, 2.0, 0.0)


def test_an_object_page_costs_few_queries_however_many_epochs() -> None:
    owner = make_object()
    for day in range(5):
        member = make_member(owner)
        LightCurvePoint.objects.create(
            astro_object=owner,
            science_image=member.run.difference_run.science_image,
            difference_run=member.run.difference_run,
            observation=member.observation,
            mjd=5.0 - day,
        )
    with CaptureQueriesContext(connection) as queries:
        page = object_page(owner)
        _ = [row.detection.observation.observation_id for row in page.members]
        _ = [row.observation.survey.name for row in page.light_curve]
    assert len(queries) <= 3
    assert [point.mjd for point in page.light_curve] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_table_filters_by_state_and_part_of_the_name() -> None:
    a = make_object(10.0, 1.0, state="confirmed")
    make_object(20.0, 1.0)
    assert list(object_list({"state": "confirmed"})) == [a]
    assert list(object_list({"q": "J0040"})) == [a]


def test_only_frames_that_touch_are_asked_for_photometry() -> None:
    survey = make_survey()
    here = make_observation(survey, ra=0.0, dec=0.0)
    touching = make_difference_run(make_observation(survey, ra=359.8, dec=0.0))
    make_difference_run(make_observation(survey, ra=1.0, dec=0.0))
    same_place = make_science_image(make_observation(survey, ra=0.0, dec=0.0))
    own = make_science_image(here)
    found = frames_near(here, version="1", exclude=[own.pk])
    differences = {frame.science_image: frame.difference for frame in found}
    assert differences == {touching.science_image: touching, same_place: None}
    assert frames_near(here, version="2") == []


def test_objects_near_a_frame_without_a_position_are_none() -> None:
    make_object()
    assert objects_near(make_observation(ra=None)) == []
    assert len(objects_near(make_observation(ra=150.0, dec=2.0))) == 1
