"""Were we watching: frames that covered a place, by their true outline, with their depth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from astrid_site.imaging.healpix import nested_index
from catalog.selectors import coverage_of
from observations.models import Observation
from tests.api.fixtures import api_as, browser_as, people
from tests.catalog.factories import make_difference_run, make_object, make_point
from tests.observations.factories import make_observation

__all__ = ["api_as", "browser_as", "people"]
pytestmark = pytest.mark.django_db
START = datetime(2026, 9, 1, tzinfo=UTC)


def frame(ra: float, dec: float, *, day: int = 0, half: float = 0.5, **fields: Any) -> Observation:
    """A square frame with sides of twice ``half`` degrees, away from the poles."""
    at = START + timedelta(days=day)
    corners = [
        [(ra + u * half) % 360, dec + v * half] for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    return make_observation(
        ra=ra,
        dec=dec,
        healpix14=nested_index(ra, dec),
        radius_deg=half * 1.5,
        footprint=corners,
        observed_at=at,
        ended_at=at + timedelta(seconds=60),
        mid_mjd=61284.0 + day,
        band=fields.pop("band", "r"),
        **fields,
    )


def test_only_frames_whose_outline_holds_the_place_are_told() -> None:
    covering = frame(359.9, 0.1)
    frame(359.2, 0.1)  # its circle holds the place, its square does not
    frame(180.0, 0.0)
    found = coverage_of(0.2, 0.0)
    assert [row.observation.pk for row in found.frames] == [covering.pk]
    assert found.frames[0].limit is None


def test_time_survey_and_band_narrow_the_answer() -> None:
    rows = [frame(10.0, 5.0, day=day, band="gr"[day % 2]) for day in range(6)]
    asked = coverage_of(10.0, 5.0, since=START + timedelta(days=1), until=START + timedelta(days=4))
    assert [row.observation.pk for row in asked.frames] == [row.pk for row in rows[1:5]]
    assert [(b.band, b.n_frames) for b in asked.bands if b.n_frames] != []
    greens = coverage_of(10.0, 5.0, band="g", survey=rows[0].survey)
    assert {row.observation.pk for row in greens.frames} <= {row.pk for row in rows[::2]}
    assert rows[0].pk in {row.observation.pk for row in greens.frames}
    assert coverage_of(10.0, 5.0, survey="nobody").frames == []


def test_depths_and_forced_fluxes_come_with_their_frames(
    api_as: Callable[[str], APIClient],
) -> None:
    row = frame(10.0, 5.0)
    run = make_difference_run(row, metrics={"injected_depth": {"magnitude_50": 20.5}})
    run.science_image.limiting_magnitude = 21.25
    run.science_image.seeing_arcsec = 1.5
    run.science_image.save()
    owner = make_object(10.0, 5.0)
    point = {"flux": 50.0, "flux_error": 2.0, "zero_point": 23.9}
    make_point(owner, run, mjd=61284.0, magnitude=19.6, magnitude_error=0.1, **point).save()
    answer = api_as("viewer").get("/api/v1/coverage/", {"ra": 10.0, "dec": 5.0001}).json()
    assert (answer["n_frames"], answer["object"]) == (1, str(owner.pk))
    told = answer["frames"][0]
    assert (told["limiting_magnitude"], told["half_found_magnitude"]) == (21.25, 20.5)
    assert (told["flux_ujy"], told["flux_error_ujy"]) == pytest.approx((50.0, 2.0))
    assert answer["bands"][0]["deepest"] == 21.25


def test_the_page_answers_in_words_a_plot_and_a_table(browser_as: Callable[[str], Client]) -> None:
    row = frame(10.0, 5.0)
    run = make_difference_run(row)
    run.science_image.limiting_magnitude = 21.25
    run.science_image.save()
    client, address = browser_as("viewer"), reverse("catalog:watched")
    assert "Yes:" not in client.get(address).content.decode()
    page = client.get(address, {"ra": "00:40:00", "dec": "5"}).content.decode()
    assert "Yes: 1 frame" in page
    assert "21.25" in page
    assert "fainter than 21.25 mag (5 sigma)" in page
    nowhere = client.get(address, {"ra": "100", "dec": "5"}).content.decode()
    assert "No frame covered this place" in nowhere
    half = client.get(address, {"ra": "100"}).content.decode()
    assert "A position needs both" in half
    when = {"ra": "1", "dec": "1", "since": "2026-09-02", "until": "2026-09-01"}
    assert "before the beginning" in client.get(address, when).content.decode()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"ra": 1}, "dec"),
        ({"ra": 361, "dec": 0}, "ra"),
        ({"ra": 1, "dec": 1, "since": "2026-09-02T00:00", "until": "2026-09-01T00:00"}, "until"),
        ({"ra": 1, "dec": 1, "night": "x"}, "night"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    asked: dict[str, Any], field: str, api_as: Callable[[str], APIClient]
) -> None:
    answer = api_as("viewer").get("/api/v1/coverage/", asked)
    assert answer.status_code == 400
    assert field in answer.json()["errors"]
