"""Reading observations and the pages' filters."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from astrid_site.core.errors import ApplicationError
from observations.selectors import observation_list
from tests.observations.factories import make_observation, make_survey

pytestmark = pytest.mark.django_db


def test_a_page_of_the_list_costs_one_query() -> None:
    survey = make_survey()
    for _ in range(5):
        make_observation(survey)
    with CaptureQueriesContext(connection) as queries:
        rows = [(row.survey.name, row.raw_file.name) for row in observation_list()[:5]]
    assert (len(rows), len(queries)) == (5, 1)


@pytest.mark.parametrize(
    "filters",
    [
        {"survey": "north"},
        {"survey": "North"},
        {"band": "g"},
        {"status": "failed"},
        {"role": "template"},
        {"target": "m 31"},
        {"q": "zwicky"},
        {"since": "2026-03-10"},
    ],
)
def test_each_filter_keeps_the_one_frame_it_describes(filters: dict[str, str]) -> None:
    wanted = make_observation(
        make_survey("North"),
        band="g",
        status="failed",
        role="template",
        target="M 31",
        telescope="Zwicky 1m",
        day=12,
    )
    make_observation(target="M 33")
    assert list(observation_list(filters)) == [wanted]
    assert observation_list(dict.fromkeys(filters, "")).count() == 2


def test_a_date_that_is_none_is_refused() -> None:
    with pytest.raises(ApplicationError, match="until"):
        observation_list({"until": "tomorrow"})
