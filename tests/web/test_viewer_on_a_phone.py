"""The viewer under a finger on a small screen: what was touched is marked, and read beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, Page

from tests.web import factories

pytestmark = pytest.mark.e2e

PHONE = {"width": 390, "height": 844}
#: The colour of the cross on the canvas within 16 pixels of a place, counted.
COUNT_CROSS = """([left, top]) => {
  const canvas = document.querySelector("[data-canvas]");
  const scale = canvas.width / canvas.getBoundingClientRect().width;
  const size = Math.round(32 * scale);
  const at = [left, top].map((part) => Math.round((part - 16) * scale));
  const { data } = canvas.getContext("2d").getImageData(...at, size, size);
  let found = 0;
  for (let i = 0; i < data.length; i += 4) {
    found += data[i] > 240 && Math.abs(data[i + 1] - 209) < 12 && Math.abs(data[i + 2] - 102) < 24;
  }
  return found;
}"""


@pytest.fixture
def viewer(chromium: Browser, site: str) -> Iterator[Page]:
    made = factories.make_world(n_epochs=1, sources_per_field=3)
    client = Client()
    client.force_login(factories.make_user("vera", "viewer"))
    cookie = {"name": settings.SESSION_COOKIE_NAME, "url": site}
    context = chromium.new_context(base_url=site, viewport=PHONE, has_touch=True, is_mobile=True)
    context.add_cookies([cookie | {"value": client.cookies[settings.SESSION_COOKIE_NAME].value}])
    page = context.new_page()
    page.goto(reverse("observations:viewer", args=[made.observations[0].pk]))
    page.wait_for_selector('[data-ready="true"]')
    yield page
    # the stream of events ends here and not in the server's last second
    page.goto("about:blank")
    context.close()


def test_a_tap_leaves_a_cross_and_its_numbers_are_in_view_with_the_frame(viewer: Page) -> None:
    box = viewer.locator("[data-stage]").bounding_box()
    assert box is not None
    # off the middle, where keys would have their cross, and off the candidates
    left, top = 0.31 * box["width"], 0.27 * box["height"]
    assert viewer.evaluate(COUNT_CROSS, [left, top]) == 0
    viewer.touchscreen.tap(box["x"] + left, box["y"] + top)
    viewer.wait_for_function("document.querySelector('[data-read=pixel]').textContent !== '–'")
    viewer.wait_for_timeout(200)
    assert viewer.evaluate(COUNT_CROSS, [left, top]) > 10
    shown = viewer.locator("[data-stage]").bounding_box()
    values = viewer.locator(".viewer-values").bounding_box()
    assert shown is not None
    assert values is not None
    # nobody scrolls from what was touched to what it says
    assert shown["y"] >= 0
    assert values["y"] + values["height"] <= PHONE["height"]


def test_values_have_their_unit_and_the_colour_of_no_value_is_explained(viewer: Page) -> None:
    said = viewer.locator(".viewer-values").inner_text()
    assert "Score [σ]" in " ".join(said.split())
    assert viewer.locator(".viewer-planes").inner_text().count("no value") == 1
