"""What pages call things: plain words for the engine's findings, names that tell things apart."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from astrid_site.remedies import _CASES
from catalog.models import LightCurvePoint
from differencing.algorithms.quality import LIMITS, judge
from differencing.models import DifferenceRun
from differencing.pages import plain_words
from observations.models import Observation
from tests.web import factories
from tests.web.factories import World


@pytest.mark.parametrize("value", [-7.25, 12345.678, float("inf"), None])
def test_every_finding_of_the_engine_is_said_without_a_name_of_code(value: float | None) -> None:
    _, reasons = judge({limit.name: value for limit in LIMITS})
    assert len(reasons) >= 2
    for reason in reasons:
        name, said = reason.split()[0], plain_words(reason)
        # sizes and shares are never negative: only the correlation has a lower side as well
        if value != -7.25 or name in {"lag1", "coverage", "n_blank", "pull_width_propagated"}:
            assert "_" not in said, reason
            assert "lag1" not in said, reason


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            "chi2_stars_p90 4.12 is outside 0 to 3",
            "residuals at bright stars are larger than expected (4.12, limit 3)",
        ),
        (
            "coverage 0.612 is outside 0.8 to 1",
            "only a part of the frame could be compared (61.2 %, limit 80 %)",
        ),
        ("n_blank 31 is outside 500 to inf", "(31 pix, limit 500 pix)"),
        ("lag1 -0.31 is outside -0.2 to 0.2", "anticorrelated (\u22120.31, limit \u22120.2)"),
        ("lag1 could not be measured", "the correlation of neighbouring pixels could not be"),
    ],
)
def test_a_finding_keeps_its_number_and_names_the_limit_it_missed(found: str, said: str) -> None:
    assert said in plain_words(found)


def test_findings_inside_a_sentence_are_put_plainly_and_unknown_ones_stay() -> None:
    text = "it is poor: lag1 0.3 is outside -0.2 to 0.2; wobble 3 is outside 0 to 1; the end"
    assert plain_words(text) == (
        "it is poor: neighbouring pixels are correlated (0.3, limit 0.2); "
        "wobble 3 is outside 0 to 1; the end"
    )


def test_a_poor_difference_is_explained_on_the_card_and_on_the_page_of_the_frame(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    DifferenceRun.objects.update(
        quality="downgrade",
        quality_reasons=["chi2_stars_p75 6.5 is outside 0 to 5"],
        method_reason="the kernel's difference is poor: chi2_stars_median 3 is outside 0 to 2.5",
    )
    client = client_of("curator")
    card = client.get(reverse("curation:vet_candidate", args=[sky.detections[0].pk]))
    frame = client.get(reverse("observations:detail", args=[sky.observations[0].pk]))
    for page in (card.content.decode(), frame.content.decode()):
        assert "a quarter of the bright stars are larger than expected (6.5, limit 5)" in page
        assert "to be used with care" in page
        assert "downgrade</" not in page
        assert "chi2_stars_p75" not in page
        assert "chi2_stars_median 3" not in page


def test_a_frame_that_failed_says_why_in_plain_words(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    Observation.objects.update(
        status="failed", reason="the difference (kernel) fails: coverage 0.1 is outside 0.8 to 1"
    )
    client = client_of("viewer")
    frame = reverse("observations:detail", args=[sky.observations[0].pk])
    for address in (frame, reverse("home")):
        page = client.get(address).content.decode()
        assert "could be compared (10 %, limit 80 %)" in page, address


def test_a_candidate_without_an_object_is_called_by_its_place_on_the_frame(
    client_of: Callable[[str], Client],
) -> None:
    world = World(factories.make_survey())
    factories.make_epoch(world, 0, sources=[(60.0, 70.0, 4000.0)], has_wcs=False)
    page = client_of("curator").get(reverse("curation:vet")).content.decode()
    title = re.search(r"<h1>\s*(.*?)\s*</h1>", page)
    assert title is not None
    assert title[1] == "Candidate at x 60, y 70 (no sky position)"


def test_brightness_is_said_to_be_that_of_the_difference(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client = client_of("curator")
    for address in (
        reverse("curation:vet"),
        reverse("observations:detail", args=[sky.observations[0].pk]),
        reverse("catalog:detail", args=[sky.objects[0].pk]),
    ):
        page = re.sub(r"\s*<br>\s*|\s+", " ", client.get(address).content.decode()).lower()
        assert "difference magnitude" in page
        assert not re.search(r"(?<!difference )magnitude (\(ab\)|\[ab\])", page), address


@pytest.mark.parametrize(
    ("flux", "said"),
    [
        (3.2, "3.2 σ, below the 5 σ limit of 19.4 mag"),
        (-1.5, "\u22121.5 σ, below the 5 σ limit of 19.4 mag"),
        (7.1, "7.1 σ, but no candidate was found here"),
        (None, "masked here"),
    ],
)
def test_an_epoch_without_a_candidate_tells_what_was_measured(
    client_of: Callable[[str], Client], flux: float | None, said: str
) -> None:
    world = World(factories.make_survey())
    for number, sources in ((0, [(60.0, 70.0, 6000.0)]), (3, [])):
        factories.make_epoch(world, number, sources=sources, turn_deg=0)
    missed = LightCurvePoint.objects.filter(observation=world.observations[1])
    assert missed.update(flux=flux, flux_error=1.0, limiting_magnitude=19.42) == 1
    page = client_of("viewer").get(reverse("catalog:detail", args=[world.objects[0].pk]))
    assert said in page.content.decode()


def test_frames_of_one_target_are_told_apart_in_the_list(
    client_of: Callable[[str], Client],
) -> None:
    survey = factories.make_survey()
    frames = [factories.make_observation(survey, n, target="M 31") for n in range(3)]
    page = client_of("viewer").get(reverse("observations:list")).content.decode()
    links = re.findall(r'href="/observations/[0-9a-f-]{36}/"[^>]*>([^<]+)</a>', page)
    assert sorted(links) == sorted(frame.observation_id for frame in frames)
    assert page.count(">M 31<") == 3


@pytest.mark.parametrize("address", ["/api/v1/nothing/", "/api/v1/observations/7/", "/api/v2/"])
@pytest.mark.parametrize("role", ["anonymous", "viewer"])
def test_an_unknown_address_of_the_api_is_answered_as_a_problem(
    client_of: Callable[[str], Client], role: str, address: str
) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = client_of(role).generic(method, address)
        assert answer.status_code == 404
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "not_found"


def test_the_page_of_an_observation_and_its_viewer_are_called_by_its_id(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    frame = sky.observations[0]
    for name in ("observations:detail", "observations:viewer"):
        text = client_of("viewer").get(reverse(name, args=[frame.pk])).content.decode()
        (title,) = re.findall(r"<title>(.*?)</title>", text)
        (heading,) = re.findall(r"<h1>(.*?)</h1>", text, re.DOTALL)
        assert f"{frame.observation_id}, {frame.target} " in title
        assert frame.observation_id in heading


def test_pages_call_the_image_that_is_subtracted_the_reference_and_nothing_else(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    frame, detection, owner = sky.observations[0], sky.detections[0], sky.objects[0]
    DifferenceRun.objects.update(metrics={"template_sky": 3.0})
    client = client_of("admin")
    for name, args in (
        ("observations:detail", [frame.pk]),
        ("observations:viewer", [frame.pk]),
        ("observations:upload", []),
        ("curation:vet_candidate", [detection.pk]),
        ("catalog:detail", [owner.pk]),
    ):
        text = client.get(reverse(name, args=args)).content.decode()
        seen = re.sub(
            r"<script.*?</script>|<code>.*?</code>|<pre.*?</pre>", "", text, flags=re.DOTALL
        )
        read = re.sub(r"<[^>]*>", " ", seen) + " ".join(
            re.findall(r'(?:alt|title|aria-label|placeholder)="([^"]*)"', seen)
        )
        assert "template" not in read.lower(), name
        if name != "observations:upload":
            assert "Reference" in read, name


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.code)
def test_no_remedy_speaks_of_a_template(case: Any) -> None:
    assert "template" not in case.remedy.lower()
