"""The page of many candidates: by keyboard in the browser, and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from curation.models import Verdict
from detection.models import Detection
from tests.servers import wait_until
from tests.web import factories
from tests.web.factories import World

SOURCES = [(60.3, 70.2, 5000.0), (110.4, 40.9, 2500.0), (40.1, 120.7, 4000.0)]


def labels() -> list[str]:
    return sorted(Verdict.objects.values_list("label", flat=True))


@pytest.mark.django_db
def test_a_page_of_many_is_a_form(sky: World, client_of: Callable[[str], Client]) -> None:
    client = client_of("curator")
    Detection.objects.update(real_bogus=0.3)
    page = client.get("/vet/many/").context["page"]
    names = [str(tile.detection.pk) for tile in page.tiles]
    assert len(names) == 2
    sent = {"batch": str(page.batch), "shown": names, "kept": names[:1]}
    answer = client.post("/vet/many/decide/", sent, follow=True)
    text = answer.content.decode()
    assert "1 bogus. 1 pulled out" in text
    assert "Nothing unpromising waits for you" in text
    assert labels() == ["bogus"]
    first = client.get("/vet/").context["card"]
    assert str(first.detection.pk) == names[0], "what was pulled out comes first"
    client.post("/vet/many/undo/", {"batch": str(page.batch)})
    assert labels() == ["bogus", "withdrawn"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong", [{"batch": "none"}, {"shown": ["none"]}, {"shown": []}, {"kept": ["none"]}]
)
def test_a_page_that_is_not_understood_stores_nothing(
    sky: World, client_of: Callable[[str], Client], wrong: dict[str, Any]
) -> None:
    client = client_of("curator")
    Detection.objects.update(real_bogus=0.3)
    page = client.get("/vet/many/").context["page"]
    names = [str(tile.detection.pk) for tile in page.tiles]
    sent = {"batch": str(page.batch), "shown": names, "kept": names[:1]} | wrong
    answer = client.post("/vet/many/decide/", sent, follow=True)
    assert "nothing was recorded" in answer.content.decode()
    assert labels() == []


@pytest.mark.django_db
def test_what_the_model_holds_for_real_is_not_among_many(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    first, second = sky.detections
    Detection.objects.filter(pk=first.pk).update(real_bogus=0.5)
    Detection.objects.filter(pk=second.pk).update(real_bogus=0.49)
    page = client_of("curator").get("/vet/many/").context["page"]
    assert [tile.detection.pk for tile in page.tiles] == [second.pk]


@pytest.fixture
def page(chromium: Browser, site: str) -> Iterator[Page]:
    """The page of many of somebody who has nine candidates to look at."""
    world = World(factories.make_survey())
    for number in range(3):
        factories.make_epoch(world, number, sources=SOURCES)
    Detection.objects.update(real_bogus=0.3)
    factories.make_user("ada", "curator")
    context = chromium.new_context(base_url=site, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/account/login/")
    page.fill("#id_username", "ada")
    page.fill("#id_password", factories.PASSWORD)
    page.click("main button[type=submit]")
    page.goto("/vet/many/")
    yield page
    context.close()
    assert complaints == []


@pytest.mark.e2e
def test_many_are_judged_by_keyboard_alone(page: Page) -> None:
    expect(page.locator("[data-many][data-painted]")).to_have_count(1)
    expect(page.locator("[data-n-rest]")).to_have_text("9")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    expect(page.locator("[data-n-rest]")).to_have_text("7")
    page.keyboard.press("1")
    expect(page.locator('[data-panel][aria-current="true"]')).to_have_text("Science")
    page.wait_for_timeout(450)
    page.keyboard.press("Enter")
    wait_until(lambda: labels() == ["bogus"] * 7, within_s=10, what="seven are bogus")
    expect(page.locator(".message")).to_contain_text("2 pulled out")
    page.click("text=look at them one by one")
    expect(page.locator("[data-painted]")).to_have_count(1)
