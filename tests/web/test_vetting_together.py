"""Two people at one queue, each with a browser: they share the work and see each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from curation.models import Assignment, Snooze, Verdict
from tests.servers import wait_until
from tests.web import factories
from tests.web.factories import World

pytestmark = pytest.mark.e2e

LOOK_MS = 200
SOURCES = [(60.3, 70.2, 5000.0), (110.4, 40.9, 2500.0), (40.1, 120.7, 4000.0)]


@pytest.fixture
def world(site: str, settings: Any) -> World:
    """Four fields of three candidates, each of which one person is to decide."""
    settings.PEOPLE_PER_CANDIDATE = 1
    made = World(factories.make_survey())
    for number in range(4):
        factories.make_epoch(made, number, sources=SOURCES)
    for name in ("ada", "ben"):
        factories.make_user(name, "curator")
    return made


@pytest.fixture
def page_of(chromium: Browser, site: str, world: World) -> Iterator[Callable[[str], Page]]:
    """A page in a browser of one's own; whatever its scripts complain of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(name: str) -> Page:
        context = chromium.new_context(base_url=site)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("/account/login/")
        page.fill("#id_username", name)
        page.fill("#id_password", factories.PASSWORD)
        page.click("main button[type=submit]")
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def decide(page: Page, key: str) -> str:
    """Look, press, and wait for another candidate or for the end; which one it was."""
    shown = page.locator("[data-candidate]").get_attribute("data-candidate") or ""
    expect(page.locator("[data-painted]")).to_have_count(1)
    page.wait_for_timeout(LOOK_MS)
    page.keyboard.press(key)
    expect(page.locator(f'[data-candidate="{shown}"]')).to_have_count(0)
    return shown


def test_two_people_decide_nothing_twice_and_see_each_other(
    page_of: Callable[[str], Page], world: World
) -> None:
    ada = page_of("ada")
    ada.goto("/vet/")
    expect(ada.locator("[data-painted]")).to_have_count(1)
    # a page that is open alone takes no more than it shows and its ten
    wait_until(lambda: Assignment.objects.count() == 9, within_s=10, what="ada holds nine objects")
    ben = page_of("ben")
    ben.goto("/vet/")
    expect(ben.locator("[data-done]")).to_be_visible()
    ada.wait_for_load_state("networkidle")  # what is under way when she leaves is heard of later
    ada.goto("/objects/")  # she leaves: what she held is free
    wait_until(lambda: not Assignment.objects.exists(), within_s=10, what="all is given back")
    ben.goto("/vet/")
    expect(ben.locator("[data-painted]")).to_have_count(1)
    expect(ben.locator("[data-people]")).to_have_text("")


def test_the_names_of_those_who_are_here_stand_beside_the_tally(
    page_of: Callable[[str], Page], world: World, settings: Any
) -> None:
    settings.PEOPLE_PER_CANDIDATE = 2
    ada, ben = page_of("ada"), page_of("ben")
    for page in (ada, ben):
        page.goto("/vet/")
        expect(page.locator("[data-painted]")).to_have_count(1)
    expect(ben.locator("[data-people]")).to_have_text("· with ada (ada at this one)")
    decide(ben, "2")
    expect(ben.locator("[data-people]")).to_have_text("· with ada", timeout=15_000)


def test_a_decision_whose_answer_is_lost_is_stored_once_though_it_was_undone(
    page_of: Callable[[str], Page], world: World
) -> None:
    page = page_of("ada")
    page.goto("/vet/")
    lost: list[str] = []

    def lose_the_answer(route: Any) -> None:
        route.fetch()  # it reaches the server
        lost.append(route.request.post_data or "")
        if len(lost) < 3:
            route.abort()
        else:
            route.fallback()

    page.route("**/vet/decide/", lose_the_answer)
    decided = decide(page, "1")
    page.keyboard.press("u")
    expect(page.locator("[data-outbox]")).to_have_text("", timeout=20_000)
    wait_until(lambda: Verdict.objects.count() == 2, within_s=20, what="the undo arrives")
    assert len(lost) == 3
    assert len(set(lost)) == 1
    rows = Verdict.objects.order_by("sequence").values_list("detection", "label")
    assert [(str(key), label) for key, label in rows] == [(decided, "real"), (decided, "withdrawn")]


def test_two_windows_of_one_person_keep_each_others_decisions(
    page_of: Callable[[str], Page], world: World
) -> None:
    page = page_of("ada")
    page.goto("/vet/")
    other = page.context.new_page()
    other.goto("/vet/")
    other.wait_for_load_state("load")
    for one in (page, other):
        one.route("**/vet/decide/", lambda route: route.abort())
    first = decide(page, "1")
    for _ in range(2):
        decide(other, "2")
    page.close()
    other.close()
    last = page.context.new_page()
    last.goto("/vet/")
    wait_until(lambda: Verdict.objects.count() >= 3, within_s=20, what="all three are stored")
    expect(last.locator("[data-outbox]")).to_have_text("")
    assert str(Verdict.objects.order_by("created_at")[0].detection_id) == first
    assert Verdict.objects.count() == 3


def test_a_candidate_is_put_off_by_keyboard_and_comes_back_by_undo(
    page_of: Callable[[str], Page], world: World
) -> None:
    page = page_of("ada")
    page.goto("/vet/")
    expect(page.locator("[data-painted]")).to_have_count(1)
    shown = page.locator("[data-candidate]").get_attribute("data-candidate") or ""
    page.wait_for_timeout(LOOK_MS)
    page.keyboard.press("f")
    page.keyboard.press("ArrowDown")  # the second condition: brighter than
    page.keyboard.press("Tab")
    page.keyboard.type("17.5")
    page.keyboard.press("Enter")
    expect(page.locator(f'[data-candidate="{shown}"]')).to_have_count(0)
    wait_until(lambda: Snooze.objects.count() == 1, within_s=10, what="it is put off")
    assert Snooze.objects.get().magnitude == 17.5
    page.keyboard.press("u")
    expect(page.locator(f'[data-candidate="{shown}"]')).to_have_count(1)
    wait_until(lambda: not Snooze.objects.exists(), within_s=10, what="it is back")
    assert not Verdict.objects.exists()
