"""One survey at a time: what is vetted and listed, and what the notice of simulated data says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from observations.models import Survey
from tests.preprocessing.factories import make_master
from tests.web import factories
from tests.web.factories import World

BANNER = "nothing in them is in the real sky"


@pytest.fixture
def skies(db: None) -> tuple[World, World]:
    """A simulated survey and a real one, with two objects each."""
    sources = [(60.3, 70.2, 5000.0), (110.4, 40.9, 2500.0)]
    simulated = World(factories.make_survey("Made up"))
    factories.make_epoch(simulated, 0, sources=sources)
    real = World(factories.make_survey("Real sky", is_simulated=False))
    factories.make_epoch(real, 1, sources=sources)
    for owner in real.objects:
        owner.is_simulated = False
        owner.save()
    return simulated, real


def candidates(page: Any) -> set[str]:
    return set(re.findall(r'data-candidate="([^"]+)"', page.content.decode()))


def keys(world: World) -> set[str]:
    return {str(detection.pk) for detection in world.detections}


def test_the_queue_of_one_survey_holds_its_candidates_alone_and_counts_them(
    skies: tuple[World, World], client_of: Callable[[str], Client]
) -> None:
    client = client_of("curator")
    for world in skies:
        told = {"survey": world.survey.slug}
        page = client.get(reverse("curation:vet"), told)
        assert candidates(page) < keys(world)
        assert page.context["tally"].n_waiting == 2
        assert candidates(client.get(reverse("curation:queue"), told)) == keys(world)
        found = client.get(reverse("api:candidate-next"), told).json()
        assert {row["id"] for row in found} == keys(world)
    assert candidates(client.get(reverse("curation:queue"))) == keys(skies[0]) | keys(skies[1])
    assert client.get(reverse("curation:vet")).context["tally"].n_waiting == 4


def test_deciding_and_taking_back_stay_in_the_survey(
    skies: tuple[World, World], client_of: Callable[[str], Client]
) -> None:
    world, client = skies[1], client_of("curator")
    told = {"survey": world.survey.slug, "stretch": "asinh"}
    for detection in world.detections:
        answer = client.post(
            reverse("curation:decide"), {"detection": detection.pk, "label": "real"} | told
        )
        assert answer.headers["Location"] == "/vet/?stretch=asinh&survey=real-sky"
    done = client.get(answer.headers["Location"])
    assert candidates(done) == set()
    assert "Nothing waits for you in Real sky" in done.content.decode()
    assert candidates(client.get(reverse("curation:vet"))) < keys(skies[0])
    undone = client.post(reverse("curation:undo"), told)
    assert undone.headers["Location"] == (
        f"/vet/{world.detections[-1].pk}/?stretch=asinh&survey=real-sky"
    )


@pytest.mark.parametrize("slug", ["no-such-survey", "made-up", "a\0b"])
def test_a_survey_that_is_not_there_or_not_active_is_not_taken_for_all(
    skies: tuple[World, World], client_of: Callable[[str], Client], slug: str
) -> None:
    Survey.objects.filter(slug="made-up").update(is_active=False)
    assert client_of("curator").get(reverse("curation:vet"), {"survey": slug}).status_code == 404


def test_a_candidate_names_its_survey(
    skies: tuple[World, World], client_of: Callable[[str], Client]
) -> None:
    for world in skies:
        page = client_of("curator").get(
            reverse("curation:vet_candidate", args=[world.detections[0].pk])
        )
        assert f"<span data-survey-name>{world.survey.name}</span>" in page.content.decode()


@pytest.mark.parametrize("place", [{}, {"ra": "150.1", "dec": "2.2", "radius": "36000"}])
def test_objects_are_listed_by_survey_and_by_name_and_name_their_surveys(
    skies: tuple[World, World], client_of: Callable[[str], Client], place: dict[str, str]
) -> None:
    client = client_of("viewer")

    def listed(**told: str) -> dict[Any, list[str]]:
        page = client.get(reverse("catalog:list"), place | told)
        return {row.pk: row.survey_names for row in page.context["table"].rows}

    for world in skies:
        found = listed(survey=world.survey.slug)
        assert found == {owner.pk: [world.survey.name] for owner in world.objects}
        assert listed(survey=world.survey.slug, state="confirmed") == {}
    assert len(listed()) == 4
    one = skies[0].objects[0]
    assert set(listed(name=one.name.split()[-1].lower())) == {one.pk}


def test_rest_lists_objects_by_survey(
    skies: tuple[World, World], client_of: Callable[[str], Client]
) -> None:
    for named in ("real-sky", "Real sky"):
        found = client_of("viewer").get(reverse("api:object-list"), {"survey": named}).json()
        assert {row["id"] for row in found["results"]} == {str(o.pk) for o in skies[1].objects}


def test_the_notice_names_simulated_surveys_only_where_they_are_on_the_page(
    skies: tuple[World, World], client_of: Callable[[str], Client]
) -> None:
    client = client_of("curator")

    def says(name: str, *args: object, **query: str) -> bool:
        return BANNER in client.get(reverse(name, args=args), query).content.decode()

    for world in skies:
        frame, owner, slug = world.observations[0], world.objects[0], world.survey.slug
        is_simulated = world.survey.is_simulated
        assert says("observations:detail", frame.pk) is is_simulated
        assert says("observations:viewer", frame.pk) is is_simulated
        assert says("catalog:detail", owner.pk) is is_simulated
        assert says("observations:list", survey=slug) is is_simulated
        assert says("catalog:list", survey=slug) is is_simulated
        card = client.get(reverse("curation:vet_candidate", args=[world.detections[0].pk]))
        assert ("simulated sky" in card.content.decode()) is is_simulated
        assert BANNER not in card.content.decode(), "the card says it of its own frame"
    for name in ("home", "observations:list", "catalog:list", "accounts:keys"):
        assert says(name)


def test_the_page_of_a_master_speaks_of_its_own_survey_alone(
    skies: tuple[World, World], client_of: Callable[[str], Client]
) -> None:
    for number, world in enumerate(skies):
        master = make_master(world.survey, exposure_s=float(number + 1))
        address = reverse("preprocessing:master", args=[master.pk])
        page = client_of("viewer").get(address).content.decode()
        assert (BANNER in page) is world.survey.is_simulated


def test_a_page_about_one_simulated_frame_names_no_other_survey(
    skies: tuple[World, World], client_of: Callable[[str], Client]
) -> None:
    other = World(factories.make_survey("Another made up"))
    factories.make_epoch(other, 2, sources=[(60.3, 70.2, 5000.0)])
    for name, row in (
        ("observations:detail", skies[0].observations[0]),
        ("catalog:detail", skies[0].objects[0]),
    ):
        text = client_of("viewer").get(reverse(name, args=[row.pk])).content.decode()
        assert "“Made up”" in text
        assert "Another made up" not in text
