"""Every page at every size of screen: nothing wider than the window, and the answers in view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from observations.models import Survey
from tests.preprocessing.factories import make_master
from tests.web import factories
from tests.web.factories import World

pytestmark = pytest.mark.e2e

SIZES = [(320, 640), (390, 844), (844, 390), (1024, 768), (1280, 800)]
#: Each page, and where it leads in the world below.
PAGES: dict[str, Callable[[World], str]] = {
    "tonight": lambda w: "/",
    "observations": lambda w: "/observations/",
    "no observation": lambda w: "/observations/?q=nothing-like-this",
    "upload": lambda w: "/observations/upload/",
    "observation": lambda w: f"/observations/{w.observations[0].pk}/",
    "viewer": lambda w: f"/observations/{w.observations[0].pk}/viewer/",
    "reference": lambda w: f"/references/{w.detections[0].run.difference_run.reference_id}/",
    "calibration": lambda w: "/calibration/",
    "vet": lambda w: "/vet/",
    "many": lambda w: "/vet/many/",
    "me": lambda w: "/vet/me/",
    "together": lambda w: "/vet/together/",
    "vet, one survey": lambda w: "/vet/?survey=real-sky",
    "objects": lambda w: "/objects/",
    "cone": lambda w: "/objects/?ra=10&dec=91",
    "object": lambda w: f"/objects/{w.objects[0].pk}/",
    "why": lambda w: f"/explain/?ra={w.objects[0].ra}&dec={w.objects[0].dec}",
    "account": lambda w: "/account/",
    "password": lambda w: "/account/password/",
    "not found": lambda w: "/nothing/",
    "admin": lambda w: "/admin/",
    "admin, detections": lambda w: "/admin/detection/detection/",
    "admin, observation": lambda w: (
        f"/admin/observations/observation/{w.observations[0].pk}/change/"
    ),
    "api": lambda w: "/api/v1/docs/",
}
#: What sticks out of the window and cannot be moved into it; empty when all is well.
_TOO_WIDE = """() => {
  const reachable = (element) => {
    for (let up = element.parentElement; up; up = up.parentElement) {
      if (getComputedStyle(up).overflowX !== "visible") return true;
    }
    return false;
  };
  const root = document.documentElement;
  const wide = [...document.querySelectorAll("body *")].filter((element) => {
    const box = element.getBoundingClientRect();
    const isSeen = box.width > 1 && box.height > 1;
    return isSeen && box.right > root.clientWidth + 1 && !reachable(element);
  });
  const told = wide.slice(0, 3).map((e) => `${e.tagName} ${e.getAttribute("class") ?? ""}`);
  return root.scrollWidth > root.clientWidth ? [`${root.scrollWidth} px`, ...told] : told;
}"""

#: On how many lines each word of an element stands.
_LINES_OF_WORDS = """(element) => {
  const text = element.firstChild;
  return [...text.data.matchAll(/\\S+/g)].map((word) => {
    const range = document.createRange();
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    return range.getClientRects().length;
  });
}"""


@pytest.fixture
def world(site: str) -> World:
    """Two surveys with long names, work under way, a master, and somebody who may see all."""
    made = factories.make_world(n_epochs=2, sources_per_field=1)
    factories.make_work(made.survey)
    make_master(made.survey)
    factories.make_survey("Real sky", is_simulated=False)
    factories.make_user("boss", "admin")
    return made


@pytest.fixture
def page(chromium: Browser, site: str, world: World) -> Iterator[Page]:
    """A page of somebody who is logged in."""
    context: BrowserContext = chromium.new_context(base_url=site)
    page = context.new_page()
    page.goto("/account/login/")
    page.fill("#id_username", "boss")
    page.fill("#id_password", factories.PASSWORD)
    page.click("main button[type=submit]")
    yield page
    context.close()


def resize(page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})


def test_no_page_is_wider_than_the_window(page: Page, world: World) -> None:
    found = {}
    for name, address in PAGES.items():
        page.goto(address(world))
        page.wait_for_load_state("load")
        for size in SIZES:
            resize(page, size)
            if faults := page.evaluate(_TOO_WIDE):
                found[f"{name} at {size[0]}x{size[1]}"] = faults
    assert found == {}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_answer_is_in_view_without_moving_the_page(
    page: Page, world: World, size: tuple[int, int]
) -> None:
    resize(page, size)
    page.goto("/vet/")
    boxes = [button.bounding_box() for button in page.locator(".answer").all()]
    assert len(boxes) == 5
    for box in boxes:
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + box["height"] <= size[1]
        assert min(box["width"], box["height"]) >= 36, "large enough for a thumb"
    for one, other in pairwise(boxes):
        assert one is not None
        assert other is not None
        assert other["x"] >= one["x"] + one["width"] or other["y"] > one["y"], "apart"
    pictures = page.locator(".vet-pictures canvas").first.bounding_box()
    assert pictures is not None
    assert pictures["y"] + pictures["height"] <= boxes[0]["y"], "the picture is not covered"


def test_the_pictures_of_a_candidate_use_the_width_of_a_laptop_and_all_is_in_view(
    page: Page, world: World
) -> None:
    resize(page, (1280, 800))
    page.goto("/vet/")
    pictures = page.locator(".vet-pictures canvas[role=img]")
    widths = [box["width"] for picture in pictures.all() if (box := picture.bounding_box())]
    assert len(widths) == 5
    assert min(widths) >= 240, "five in a row, from edge to edge"
    for part in (".vet-why", ".vet-curve"):
        box = page.locator(part).bounding_box()
        answers = page.locator(".answer").first.bounding_box()
        assert box is not None
        assert answers is not None
        assert box["y"] + box["height"] <= answers["y"], part
    resize(page, (1920, 1080))
    wide = pictures.first.bounding_box()
    assert wide is not None
    assert wide["width"] >= 1.4 * min(widths), "they grow with the window"


def test_a_row_of_the_objects_is_whole_on_a_laptop_and_breaks_inside_no_word(
    page: Page, world: World
) -> None:
    Survey.objects.filter(pk=world.survey.pk).update(name="Simulated sky")
    one = world.objects[0]
    resize(page, (1280, 800))
    for address in ("/objects/", f"/objects/?ra={one.ra}&dec={one.dec}&radius=60"):
        page.goto(address)
        table = page.locator(".table-wrap")
        assert table.evaluate("box => box.scrollWidth - box.clientWidth") == 0, address
        lines = page.locator("td[data-label=Survey] span").first.evaluate(_LINES_OF_WORDS)
        assert lines == [1, 1], address


def test_the_admins_list_of_detections_shows_every_column_on_a_phone(
    page: Page, world: World
) -> None:
    resize(page, (390, 844))
    page.goto("/admin/detection/detection/")
    cells = page.locator("#result_list tbody tr").first.locator("td, th").all()
    assert len(cells) == 7
    for cell in cells:
        box = cell.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390
