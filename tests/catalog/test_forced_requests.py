"""Forced photometry at places of one's own, from the request to the file, against true fluxes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from astropy.table import Table
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from astrid_site.core import tasking
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from catalog.models import ForcedRequest, LightCurvePoint
from tests.api.fixtures import api_as, browser_as, people
from tests.catalog.small_frames import (
    ARCSEC,
    DEC,
    RA,
    SIZE,
    add_difference,
    add_science,
    make_image,
)
from tests.observations.factories import make_observation, make_survey
from tests.pipeline.drive import drain

__all__ = ["api_as", "browser_as", "people"]
pytestmark = pytest.mark.django_db(transaction=True)

MIDDLE = (SIZE - 1) / 2
#: Total flux of the star in the middle, and what it gained against the reference.
FLUX, GAINED = 400.0, 150.0
ADDRESS = "/api/v1/forced-photometry/"


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are worked off by the test itself."""
    monkeypatch.setattr(tasking, "ring", lambda *args, **kwargs: None)


@pytest.fixture
def sky() -> None:
    """Three frames of one survey, two of them subtracted, and one of another."""
    survey = make_survey()
    for day in (1.0, 2.0, 3.0):
        frame = make_observation(survey, day=day, ra=RA, dec=DEC)
        image = add_science(frame, make_image([5, int(day)], [(MIDDLE, MIDDLE, FLUX)]))
        if day > 1.0:
            add_difference(image, make_image([6, int(day)], [(MIDDLE, MIDDLE, GAINED)]))
    other = make_observation(make_survey("other"), day=4.0, ra=RA, dec=DEC)
    add_science(other, make_image([7, 1], [(MIDDLE, MIDDLE, FLUX)]))


def ask(client: APIClient, **more: object) -> str:
    """A star, empty sky ten pixels beside it, and a place no frame covers."""
    told = {"ra": [RA, RA + 10 * ARCSEC, 10.0], "dec": [DEC, DEC, -40.0], **more}
    answer = client.post(ADDRESS, told, format="json")
    assert answer.status_code == 201, answer.json()
    assert answer.json()["state"] == "queued"
    return str(answer.json()["id"])


@pytest.mark.usefixtures("sky")
def test_every_frame_gives_both_fluxes_of_every_place_as_they_are(
    api_as: Callable[[str], APIClient],
) -> None:
    key = ask(api_as("curator"), name="mine")
    drain()
    told = api_as("viewer").get(f"{ADDRESS}{key}/").json()
    assert (told["state"], told["name"], told["survey"]) == ("done", "mine", None)
    star, blank, beyond = (place["points"] for place in told["places"])
    kinds = [(point["kind"], round(point["mjd"] % 10, 1)) for point in star]
    assert len(kinds) == 6
    assert [kind for kind, _ in kinds].count("total") == 4
    for points, true in ((star, {"difference": GAINED, "total": FLUX}), (blank, {})):
        for point in points:
            assert point["flux_error"] > 0
            off = point["flux"] - true.get(point["kind"], 0.0)
            # ten values: one of 4 sigma comes once in 1,500 such tests
            assert abs(off) < 4.0 * point["flux_error"]
            assert point["limiting_magnitude"] == pytest.approx(22.2, abs=0.5)
    # 25 is the zero point: one unit is 0.363 microjansky
    assert star[0]["flux_ujy"] == pytest.approx(0.3631 * star[0]["flux"], rel=1e-3)
    assert beyond == []
    # no object was made of a place that somebody asked about
    assert not LightCurvePoint.objects.exists()


@pytest.mark.usefixtures("sky")
def test_files_say_the_same_as_the_answer(api_as: Callable[[str], APIClient]) -> None:
    key = ask(api_as("curator"), survey="other")
    assert api_as("viewer").get(f"{ADDRESS}{key}/csv/").status_code == 404
    drain()
    answer = api_as("viewer").get(f"{ADDRESS}{key}/").json()
    points = [(i, p) for i, place in enumerate(answer["places"], 1) for p in place["points"]]
    assert len(points) == 2
    files = {}
    for kind in ("csv", "ecsv"):
        response = api_as("viewer").get(f"{ADDRESS}{key}/{kind}/")
        files[kind] = b"".join(response.streaming_content).decode()
    rows = list(csv.DictReader(io.StringIO(files["csv"])))
    table = Table.read(files["ecsv"], format="ascii.ecsv")
    assert str(table["flux_ujy"].unit) == "uJy"
    for (number, point), row, line in zip(points, rows, table, strict=True):
        assert int(row["place"]) == line["place"] == number
        assert float(row["flux"]) == pytest.approx(point["flux"])
        assert line["flux_error"] == pytest.approx(point["flux_error"])


def test_places_without_frames_and_lists_that_do_not_fit_are_said(
    api_as: Callable[[str], APIClient],
) -> None:
    client = api_as("curator")
    for told in (
        {"ra": [1.0, 2.0], "dec": [1.0]},
        {"ra": [], "dec": []},
        {"ra": [1.0] * 101, "dec": [1.0] * 101},
        {"ra": [1.0], "dec": [91.0]},
        {"ra": [1.0], "dec": [1.0], "survey": "nobody's"},
    ):
        assert client.post(ADDRESS, told, format="json").status_code == 400
    assert not ForcedRequest.objects.exists()
    key = ask(client)
    drain()
    told = client.get(f"{ADDRESS}{key}/").json()
    assert told["state"] == "skipped"
    assert "no calibrated frame covers" in told["message"]


@pytest.mark.usefixtures("sky")
def test_a_curator_asks_on_the_page_and_sees_the_light_curve(
    browser_as: Callable[[str], Client],
) -> None:
    curator = browser_as("curator")
    address = reverse("catalog:forced")
    bad = curator.post(address, {"places": "10:00:00"}).content.decode()
    assert "Line 1 needs two numbers" in bad
    sent = curator.post(address, {"places": f"10:00:00 +2:00:00\n{RA}, {DEC}\n", "name": "two"})
    assert sent.status_code == 302
    page = curator.get(sent["Location"]).content.decode()
    assert "every 2s" in page
    drain()
    assert Job.objects.get(kind="forced_photometry").state == JobState.DONE
    page = browser_as("viewer").get(sent["Location"]).content.decode()
    assert "every 2s" not in page
    assert page.count("<svg") >= 4
    assert "ECSV" in page
    assert "two" in browser_as("viewer").get(address).content.decode()
    assert 'name="places"' not in browser_as("viewer").get(address).content.decode()
