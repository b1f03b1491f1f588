"""What the read endpoints answer."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from astrid_site.core.models import Heartbeat, Job
from astrid_site.core.rendering import FiniteJSONRenderer
from detection.models import Detection
from observations.models import Survey
from tests.web.factories import World, make_survey

pytestmark = pytest.mark.django_db
Api = Callable[[str], APIClient]


def read(client: APIClient, path: str, **query: Any) -> Any:
    answer = client.get(f"/api/v1/{path}", query)
    assert answer.status_code == 200, answer.content
    return json.loads(answer.content, parse_constant=refuse_constant)


def refuse_constant(name: str) -> None:
    pytest.fail(f"{name} is not JSON")


def test_observations_are_listed_newest_first_with_their_state(api_as: Api, world: World) -> None:
    rows = read(api_as("viewer"), "observations/")["results"]
    assert len(rows) == 7
    assert [r["created_at"] for r in rows] == sorted((r["created_at"] for r in rows), reverse=True)
    assert {r["status"] for r in rows} == {"succeeded", "running", "pending", "failed", "skipped"}


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"status": "failed"}, 1),
        ({"survey": "Simulated survey"}, 7),
        ({"survey": "simulated-survey"}, 7),
        ({"survey": "an empty one"}, 0),
        ({"q": "sim-0001"}, 1),
        ({"since": "2099-01-01"}, 0),
        ({"role": "auto", "band": "r"}, 7),
    ],
)
def test_observations_are_narrowed_by_their_filters(
    api_as: Api, world: World, query: dict[str, str], count: int
) -> None:
    make_survey("An empty one")
    assert len(read(api_as("viewer"), "observations/", **query)["results"]) == count


@pytest.mark.parametrize(
    "query",
    [
        "observations/?status=nearly",
        "observations/?statsu=failed",
        "observations/?since=yesterday",
        "observations/?ordering=password",
        "observations/?survey=typo",
        "observations/?survey=a%00b",
        "objects/?survey=typo",
        "candidates/next/?survey=typo",
        "candidates/?observation=7",
        "candidates/?kept=perhaps",
        "candidates/?min_score=nan",
        "candidates/?min_score=1e999",
        "candidates/?ordering=features",
        "candidates/?page_size=many",
        "candidates/?page_size=-1",
        "objects/?state=lost",
        "objects/?ordering=healpix14",
        "objects/cone/?ra=10&dec=91&radius_arcsec=5",
        "objects/cone/?ra=10&dec=nan&radius_arcsec=5",
        "objects/cone/?ra=10&dec=1",
        "objects/cone/?ra=10&dec=1&radius_arcsec=0",
        "objects/cone/?ra=10&dec=1&radius_arcsec=-5",
        "objects/cone/?ra=10&dec=1&radius_arcsec=5&limit=99999999999999999999",
        "jobs/?subject=x",
        "jobs/?state=napping",
        "surveys/?x=1",
        "candidates/next/?limit=0",
        "candidates/next/?limit=99999999999999999999999",
    ],
)
def test_a_parameter_that_means_nothing_is_refused_with_its_reason(api_as: Api, query: str) -> None:
    answer = api_as("curator").get(f"/api/v1/{query}")
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400
    assert problem["errors"]


@pytest.mark.parametrize("called", ["Simulated survey", "simulated SURVEY", "simulated-survey"])
@pytest.mark.parametrize("path", ["observations/", "objects/", "candidates/next/"])
def test_a_survey_is_called_by_name_or_slug_everywhere(
    api_as: Api, world: World, path: str, called: str
) -> None:
    make_survey("An empty one")
    client = api_as("curator")
    counts = []
    for survey in (called, "an-empty-one"):
        said = client.get(f"/api/v1/{path}", {"survey": survey})
        assert said.status_code == 200, said.content
        rows = said.json()
        counts.append(len(rows if isinstance(rows, list) else rows["results"]))
    assert counts[0] > 0
    assert counts[1] == 0


def test_no_candidate_waits_of_a_survey_that_is_closed(api_as: Api, world: World) -> None:
    Survey.objects.update(is_active=False)
    answer = api_as("curator").get("/api/v1/candidates/next/", {"survey": world.survey.name})
    assert answer.status_code == 400
    assert answer.json()["errors"]["survey"]


def test_an_observations_timeline_names_every_stage_reached_or_not(
    api_as: Api, world: World
) -> None:
    done = world.observations[0]
    rows = read(api_as("viewer"), f"observations/{done.pk}/timeline/")
    assert [r["stage"] for r in rows] == [
        "preprocess", "reference", "difference", "detect", "associate", "photometry",
    ]  # fmt: skip
    assert {r["status"] for r in rows} == {"succeeded"}
    assert rows[0]["metrics"]["n_stars"] == 38
    waiting = Job.objects.get(kind="preprocess").subject_id
    assert read(api_as("viewer"), f"observations/{waiting}/timeline/")[0]["status"] == "queued"
    assert read(api_as("viewer"), f"observations/{waiting}/timeline/")[1]["status"] == "none"


def test_candidates_carry_cuts_links_and_honest_nulls(api_as: Api, world: World) -> None:
    client = api_as("viewer")
    detection = world.detections[0]
    row = read(client, f"candidates/{detection.pk}/")
    assert row["score"] == pytest.approx(detection.score)
    assert len(row["cuts"]) == 11
    assert set(row["cutouts"]) == {"science", "template", "difference", "score", "float32"}
    for address in row["cutouts"].values():
        assert client.get(address).status_code == 200


def test_candidates_are_filtered_by_score_of_either_sign(api_as: Api, world: World) -> None:
    client = api_as("viewer")
    Detection.objects.filter(pk=world.detections[0].pk).update(score=-40.0, is_kept=False)
    Detection.objects.exclude(pk=world.detections[0].pk).update(score=6.0)
    assert len(read(client, "candidates/", min_score=30)["results"]) == 1
    assert len(read(client, "candidates/", kept="false")["results"]) == 1
    assert len(read(client, "candidates/", kept="true")["results"]) == 2
    one = read(client, "candidates/", observation=str(world.observations[0].pk))["results"]
    assert [r["observation"] for r in one] == [str(world.observations[0].pk)]


def test_pages_follow_each_other_without_loss_and_their_size_is_capped(
    api_as: Api, world: World
) -> None:
    client = api_as("viewer")
    seen: list[str] = []
    page = read(client, "observations/", page_size=2)
    while True:
        assert len(page["results"]) <= 2
        seen += [r["id"] for r in page["results"]]
        if page["next"] is None:
            break
        page = client.get(page["next"]).json()
    assert len(seen) == len(set(seen)) == 7
    assert len(read(client, "observations/", page_size=10**9)["results"]) == 7


@pytest.mark.parametrize("forged", ["p=x", "p=%00", "r=1&p=not-a-date", "o=-1", "p=1e999"])
def test_a_forged_cursor_is_not_found(api_as: Api, forged: str) -> None:
    cursor = base64.b64encode(forged.encode()).decode()
    assert api_as("viewer").get("/api/v1/observations/", {"cursor": cursor}).status_code == 404


def test_float_cutouts_are_the_stored_pixels_and_are_answered_once(
    api_as: Api, world: World
) -> None:
    client = api_as("viewer")
    address = f"/api/v1/candidates/{world.detections[0].pk}/cutouts/"
    answer = client.get(address)
    shape = tuple(int(n) for n in answer["X-AstrID-Shape"].split(","))
    pixels = np.frombuffer(answer.content, "<f4").reshape(shape)
    assert shape == (4, 63, 63)
    # the score plane is the difference over the noise by construction of the world
    np.testing.assert_allclose(pixels[3], pixels[2] / 10.0, rtol=1e-5)
    assert answer["Cache-Control"].startswith("private")
    again = client.get(address, HTTP_IF_NONE_MATCH=answer["ETag"])
    assert again.status_code == 304
    assert again.content == b""


def test_panels_are_pictures_and_other_names_are_not_found(api_as: Api, world: World) -> None:
    client = api_as("viewer")
    base = f"/api/v1/candidates/{world.detections[0].pk}/cutouts"
    answer = client.get(f"{base}/score.png")
    assert answer["Content-Type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    etag = client.get(f"{base}/science.png?stretch=zscale")["ETag"]
    assert client.get(f"{base}/science.png", HTTP_IF_NONE_MATCH=etag).status_code == 304
    assert client.get(f"{base}/..%2f..%2fetc.png").status_code == 404
    assert client.get(f"{base}/other.png").status_code == 404
    assert client.get(f"{base}/science.png?stretch=none").status_code == 400


def test_a_candidate_has_its_flux_in_microjansky(api_as: Api, world: World) -> None:
    (row, *_) = read(api_as("viewer"), "candidates/")["results"]
    # the magnitude is of the flux's size: AB 23.9 is one microjansky
    assert abs(row["flux_ujy"]) == pytest.approx(10 ** (0.4 * (23.9 - row["magnitude"])))
    assert row["flux_ujy"] / row["flux_error_ujy"] == pytest.approx(row["flux"] / row["flux_error"])


def test_an_object_comes_with_its_light_curve(api_as: Api, world: World) -> None:
    client = api_as("viewer")
    row = read(client, f"objects/{world.objects[0].pk}/")
    assert row["n_detections"] == 1
    assert row["light_curve"][0]["flux_error"] > 0
    assert row["light_curve"][0]["kind"] == "difference"
    assert read(client, f"objects/{world.objects[0].pk}/", kind="total")["light_curve"] == []
    address = f"/api/v1/objects/{world.objects[0].pk}/"
    assert client.get(address, {"kind": "sum"}).status_code == 400
    assert client.get(address, {"kinds": "total"}).status_code == 400
    assert len(read(client, "objects/", q=row["name"][-6:])["results"]) == 1
    assert len(read(client, "objects/", state="confirmed")["results"]) == 0
    names = [r["name"] for r in read(client, "objects/", ordering="name")["results"]]
    assert names == sorted(names)
    assert len(names) == 3


def test_a_cone_gives_the_nearest_first_with_their_distances(api_as: Api, world: World) -> None:
    target = world.objects[0]
    client = api_as("viewer")
    rows = read(client, "objects/cone/", ra=target.ra, dec=target.dec, radius_arcsec=3600)
    assert rows[0]["id"] == str(target.pk)
    assert rows[0]["separation_arcsec"] == pytest.approx(0.0, abs=1e-6)
    assert [r["separation_arcsec"] for r in rows] == sorted(r["separation_arcsec"] for r in rows)
    tight = read(client, "objects/cone/", ra=target.ra, dec=target.dec, radius_arcsec=1)
    assert [r["id"] for r in tight] == [str(target.pk)]
    assert len(read(client, "objects/cone/", ra=150, dec=2, radius_arcsec=9e3, limit=1)) == 1


def test_what_is_not_a_number_is_null_in_json() -> None:
    # the databases refuse NaN in JSON columns, so the renderer is asked itself
    told = FiniteJSONRenderer().render({"a": math.nan, "b": [-math.inf, {"c": (1.5, math.inf)}]})
    assert json.loads(told, parse_constant=refuse_constant) == {
        "a": None,
        "b": [None, {"c": [1.5, None]}],
    }
    assert FiniteJSONRenderer().render({"a": "\ud800"}) == rb'{"a":"\ud800"}'


def test_jobs_are_found_by_their_subject(api_as: Api, world: World) -> None:
    job = Job.objects.get(state="running")
    client = api_as("viewer")
    rows = read(client, "jobs/", subject=str(job.subject_id))["results"]
    assert [r["id"] for r in rows] == [str(job.pk)]
    one = read(client, f"jobs/{job.pk}/")
    assert one["progress"] == pytest.approx(0.4)
    assert "token" not in one
    assert len(read(client, "jobs/", state="queued")["results"]) == 1


@pytest.mark.parametrize("path", ["observations", "jobs", "candidates", "objects"])
def test_what_does_not_exist_is_not_found(api_as: Api, path: str) -> None:
    client = api_as("viewer")
    nobody = "00000000-0000-4000-8000-000000000000"
    answer = client.get(f"/api/v1/{path}/{nobody}/")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    assert client.get(f"/api/v1/{path}/99999999999999999999/").status_code == 404


def test_lists_cost_the_same_number_of_queries_for_more_rows(
    api_as: Api, world: World, django_assert_max_num_queries: Any
) -> None:
    client = api_as("viewer")
    for path in ("observations/", "candidates/", "objects/", "jobs/", "surveys/"):
        with django_assert_max_num_queries(7):  # session, user, permissions (2), rows
            client.get(f"/api/v1/{path}")


def test_health_says_alive_to_all_and_details_only_to_people(api_as: Api, world: World) -> None:
    stranger = APIClient()
    assert read(stranger, "health/live/") == {"status": "alive"}
    Heartbeat.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    assert read(stranger, "health/ready/") == {"status": "degraded"}
    told = read(api_as("viewer"), "health/ready/")
    assert told["probes"]["database"]["ok"] is True
    assert told["probes"]["storage"]["ok"] is True
    assert told["probes"]["worker"] == {"ok": False, "detail": "LookupError"}
