"""The pages in a real browser: keys, lost networks, live parts, no scripts, small screens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from astrid_site.core import events
from astrid_site.core.status import RunStatus
from curation.models import Verdict
from observations.models import Observation
from tests.servers import wait_until
from tests.web import factories
from tests.web.factories import World

pytestmark = pytest.mark.e2e

DESK = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def world(site: str) -> World:
    """Three fields with three candidates each; nine objects to decide."""
    made = factories.make_world(n_epochs=1, sources_per_field=3)
    for role in ("curator", "researcher"):
        factories.make_user(role, role)
    return made


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser complained of; a test fails if there is anything in it at its end."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def open_page(
    chromium: Browser, site: str, world: World, complaints: list[str]
) -> Iterator[Callable[..., Page]]:
    """A page of a fresh browser, logged in; errors and foreign requests are complaints."""
    contexts: list[BrowserContext] = []

    def make(role: str = "curator", **options: object) -> Page:
        context = chromium.new_context(base_url=site, **{"viewport": DESK} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda line: (
                complaints.append(line.text) if line.type in {"error", "warning"} else None
            ),
        )
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith((site, "data:", "blob:"))
                else complaints.append(asked.url)
            ),
        )
        page.goto("/account/login/")
        page.fill("#id_username", role)
        page.fill("#id_password", factories.PASSWORD)
        page.click("main button[type=submit]")
        return page

    yield make
    for context in contexts:
        context.close()


def shown(page: Page) -> str:
    """Key of the candidate on the page."""
    return page.locator("[data-candidate]").get_attribute("data-candidate") or ""


#: Until a candidate has been there for so long, no key decides it.
LOOK_MS = 200


def look(page: Page) -> None:
    """Wait until the pixels are there, and long enough to see them."""
    expect(page.locator("[data-painted]")).to_have_count(1)
    page.wait_for_timeout(LOOK_MS)


def press_and_wait(page: Page, key: str) -> str:
    """Look at a candidate, press a key and wait for another one; returns the one before."""
    before = shown(page)
    look(page)
    page.keyboard.press(key)
    expect(page.locator(f'[data-candidate="{before}"]')).to_have_count(0)
    return before


def labels(n_expected: int) -> list[tuple[str, str, str]]:
    """Every verdict stored, in order, once so many are there."""
    wait_until(
        lambda: Verdict.objects.count() == n_expected,
        within_s=10,
        what=f"{n_expected} verdicts, there are {Verdict.objects.count()}",
    )
    rows = Verdict.objects.order_by("created_at")
    return [(str(row.detection_id), row.label, row.reason) for row in rows]


def test_digits_decide_and_advance_and_u_takes_back(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto("/vet/")
    first = press_and_wait(page, "1")
    second = press_and_wait(page, "2")
    third = press_and_wait(page, "Shift+Digit3")
    fourth = press_and_wait(page, "5")
    expect(page.locator("[data-announce]")).to_contain_text("moving")
    press_and_wait(page, "u")
    assert shown(page) == fourth
    press_and_wait(page, "u")
    assert shown(page) == third
    assert labels(6) == [
        (first, "real", ""),
        (second, "bogus", ""),
        (third, "bogus", "cosmic_ray"),
        (fourth, "moving", ""),
        (fourth, "withdrawn", ""),
        (third, "withdrawn", ""),
    ]
    expect(page.locator("[data-decided-count]")).to_have_text("2")
    times = Verdict.objects.filter(label="real").values_list("seconds", flat=True)
    assert all(0 < seconds < 60 for seconds in times)


def test_every_candidate_can_be_decided_by_keys_alone(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto("/vet/")
    for _ in range(8):
        press_and_wait(page, "3")
    look(page)
    page.keyboard.press("3")
    expect(page.locator("[data-done]")).to_contain_text("You decided 9 candidates")
    assert len({detection for detection, _, _ in labels(9)}) == 9
    page.keyboard.press("u")  # the undo of a page that remembers nothing asks the server
    expect(page.locator("[data-candidate]")).to_have_count(1)
    assert labels(10)[-1][1] == "withdrawn"


def test_keys_are_dead_while_one_writes(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto("/vet/")
    before = shown(page)
    page.keyboard.press("c")
    page.keyboard.type("21 bu?")
    assert page.input_value("[name=comment]") == "21 bu?"
    page.wait_for_timeout(250)  # a candidate may be decided from 120 ms after it was painted
    page.keyboard.press("Enter")
    assert not Verdict.objects.exists()
    page.keyboard.press("Backspace")
    page.keyboard.press("Escape")
    assert shown(page) == before
    press_and_wait(page, "2")
    labels(1)
    assert Verdict.objects.get().comment == "21 bu?"


def test_a_held_digit_decides_only_once(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto("/vet/")
    before = shown(page)
    look(page)
    for _ in range(4):  # without a release, further presses are repeats
        page.keyboard.down("1")
    page.keyboard.up("1")
    expect(page.locator(f'[data-candidate="{before}"]')).to_have_count(0)
    assert labels(1) == [(before, "real", "")]


def test_quick_presses_decide_nothing_that_was_not_seen(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto("/vet/")
    page.wait_for_load_state("networkidle")
    before = shown(page)
    page.evaluate(
        """() => [..."121212"].forEach((digit) => document.body.dispatchEvent(
            new KeyboardEvent("keydown", { code: `Digit${digit}`, key: digit, bubbles: true })))"""
    )
    expect(page.locator(f'[data-candidate="{before}"]')).to_have_count(0)
    second = press_and_wait(page, "2")
    assert labels(2) == [(before, "real", ""), (second, "bogus", "")]


def test_a_held_enter_on_an_answer_decides_only_once(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto("/vet/")
    before = shown(page)
    look(page)
    page.locator("button.bogus").focus()
    for _ in range(3):
        page.keyboard.down("Enter")
        page.wait_for_timeout(LOOK_MS)
    page.keyboard.up("Enter")
    expect(page.locator(f'[data-candidate="{before}"]')).to_have_count(0)
    assert labels(1) == [(before, "bogus", "")]


def test_new_candidates_come_to_a_page_that_waits_for_them(
    open_page: Callable[..., Page], world: World
) -> None:
    from astrid_site.accounts.models import User
    from curation import services

    page = open_page()
    curator = User.objects.get(username="curator")
    for detection in world.detections:
        services.give_verdict(detection, curator, label="bogus")
    events.assign_sequences()
    page.goto("/vet/")
    expect(page.locator("[data-done]")).to_contain_text("appears here by itself")
    expect(page.get_by_role("link", name="Look again")).to_be_visible()
    page.wait_for_timeout(LOOK_MS)
    frame = factories.make_epoch(world, 4, sources=[(20.0, 90.0, 6000.0)])
    events.publish("detection.found", subject_id=frame.pk, payload={"count": 1})
    events.assign_sequences()
    expect(page.locator("[data-candidate]")).to_have_count(1, timeout=10_000)


def test_b_shows_the_reference_while_held_and_s_changes_the_stretch(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    page.goto("/vet/")
    label = page.locator("[data-panel-label]").first
    painted = page.locator("[data-painted]")
    expect(painted).to_have_attribute("data-painted", "zscale")
    page.keyboard.down("b")
    expect(label).to_have_text("Reference")
    page.keyboard.up("b")
    expect(label).to_have_text("Science")
    page.keyboard.press("s")
    expect(painted).to_have_attribute("data-painted", "asinh")
    press_and_wait(page, "3")
    expect(painted).to_have_attribute("data-painted", "asinh")


def test_the_key_card_opens_and_closes_by_key(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto("/vet/")
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_be_visible()
    before = shown(page)
    page.keyboard.press("1")
    assert shown(page) == before
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    press_and_wait(page, "1")


def test_decisions_taken_without_a_network_arrive_once_when_it_is_back(
    open_page: Callable[..., Page], complaints: list[str]
) -> None:
    page = open_page()
    page.goto("/vet/")
    expect(page.locator("[data-tally]")).to_contain_text("this one")
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    decided = [press_and_wait(page, key) for key in ("1", "2", "3")]
    expect(page.locator("[data-outbox]")).to_contain_text("3 being sent")
    assert not Verdict.objects.exists()
    page.context.set_offline(False)
    assert [row[0] for row in labels(3)] == decided
    expect(page.locator("[data-outbox]")).to_have_text("")
    # the browser itself reports each attempt that could not leave
    complaints[:] = [line for line in complaints if "ERR_INTERNET_DISCONNECTED" not in line]


def test_decisions_wait_in_the_browser_over_a_reload(
    open_page: Callable[..., Page], complaints: list[str]
) -> None:
    page = open_page()
    page.goto("/vet/")
    page.wait_for_load_state("networkidle")
    page.route("**/vet/decide/", lambda route: route.abort())
    decided = press_and_wait(page, "1")
    page.unroute("**/vet/decide/")
    page.goto("/vet/")
    assert labels(1) == [(decided, "real", "")]
    complaints[:] = [line for line in complaints if "ERR_FAILED" not in line]


def test_everything_can_be_decided_and_undone_without_scripts(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/vet/?stretch=linear")
    first = shown(page)
    page.select_option("[name=reason]", "dipole")
    page.click("button.bogus")
    assert shown(page) != first
    assert "stretch=linear" in page.url
    expect(page.locator(".message")).to_have_text("Recorded: bogus.")
    page.click("[data-undo] button")
    assert shown(page) == first
    assert labels(2) == [(first, "bogus", "dipole"), (first, "withdrawn", "")]


def test_tonight_follows_the_events_of_the_night(open_page: Callable[..., Page]) -> None:
    page = open_page("researcher")
    page.goto("/")
    expect(page.locator("[data-live-light]")).to_have_text("live")
    expect(page.locator("#failures-title").locator("xpath=../..")).to_contain_text("Nothing failed")
    frame = Observation.objects.first()
    Observation.objects.filter(pk=frame.pk).update(
        status=RunStatus.FAILED, stage="difference", reason="the WCS is wrong"
    )
    events.publish("observation.changed", subject_id=frame.pk, payload={"status": "failed"})
    events.assign_sequences()
    expect(page.get_by_text("the WCS is wrong")).to_be_visible(timeout=10_000)
    expect(page.get_by_text("1 failed")).to_be_visible(timeout=10_000)


def test_an_upload_reports_each_file(open_page: Callable[..., Page]) -> None:
    page = open_page("researcher")
    page.goto("/observations/upload/")
    page.fill("#id_survey", "From the browser")
    page.set_input_files(
        "#id_frames",
        [
            {"name": "a.fits", "mimeType": "application/fits", "buffer": b"no FITS"},
            {"name": "b.txt", "mimeType": "text/plain", "buffer": b"SIMPLE  = nothing"},
        ],
    )
    page.click("button[type=submit]:has-text('Upload')")
    results = page.locator("[data-list] li")
    expect(results).to_have_count(2)
    expect(results.locator(".badge.failed")).to_have_count(2)
    expect(results.first).to_contain_text("a.fits")


def test_a_chosen_theme_is_kept(open_page: Callable[..., Page]) -> None:
    page = open_page(color_scheme="light")
    page.goto("/")
    page.click("[data-theme-toggle]")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.goto("/objects/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(12, 17, 24)"
    page.click("[data-theme-toggle]")
    page.goto("/")
    assert page.evaluate("document.documentElement.dataset.theme") == "red"
    page.click("[data-theme-toggle]")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_no_page_is_wider_than_the_screen(
    open_page: Callable[..., Page], world: World, size: dict[str, int]
) -> None:
    factories.make_work(world.survey)
    page = open_page("researcher", viewport=size)
    for address in (
        "/",
        "/observations/",
        "/observations/upload/",
        f"/observations/{world.observations[0].pk}/",
        "/vet/",
        "/objects/",
        f"/objects/{world.objects[0].pk}/",
        "/account/",
    ):
        page.goto(address)
        beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, address


def test_vetting_needs_no_scrolling_at_1280_by_720(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto("/vet/")
    assert page.evaluate("document.documentElement.scrollHeight - innerHeight") <= 0


def test_the_chart_is_read_by_keyboard(open_page: Callable[..., Page], world: World) -> None:
    page = open_page()
    page.goto(f"/objects/{world.objects[0].pk}/")
    mark = page.locator(".chart.wide [data-mark]").first
    mark.focus()
    note = page.locator("[data-chart-note]").first
    expect(note).to_contain_text("MJD 61284.1250, r band")
