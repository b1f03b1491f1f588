"""The vetting page draws numbers: the right ones, at the right place, in colours that mean them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from astrid_site.imaging import display
from detection import selectors
from detection.models import Detection
from differencing.models import DifferenceRun
from tests.servers import wait_until
from tests.web import factories
from tests.web.factories import World

pytestmark = pytest.mark.e2e

CHECKS = (Path(__file__).parents[1] / "e2e" / "page_checks.js").read_text()
DESK = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
#: The gray of one pixel of the frame in a picture, counted from the middle of the picture, for
#: frames that are not turned.
GRAY = """([panel, dx, dy]) => {
  const canvas = document.querySelector(`canvas[data-panel="${panel}"]`);
  const scale = canvas.width / 75;
  const [x, y] = [canvas.width / 2 + dx * scale, canvas.width / 2 - dy * scale];
  const one = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  one.drawImage(canvas, -Math.floor(x), -Math.floor(y));
  return [...one.getImageData(0, 0, 1, 1).data];
}"""


@pytest.fixture
def world(site: str) -> World:
    """One frame that lies on the detector as on the page, with a candidate near its corner."""
    made = World(factories.make_survey())
    factories.make_epoch(made, 0, sources=[(20.3, 22.2, 5000.0), (90.4, 80.9, 2500.0)], turn_deg=0)
    factories.make_user("curator", "curator")
    return made


@pytest.fixture
def page(chromium: Browser, site: str, world: World) -> Iterator[Page]:
    """A curator's page; whatever it complains of, or asks of others, fails the test."""
    context = chromium.new_context(base_url=site, viewport=DESK)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None,
    )
    page.on("request", lambda one: complaints.append(one.url) if site not in one.url else None)
    page.goto("/account/login/")
    page.fill("#id_username", "curator")
    page.fill("#id_password", factories.PASSWORD)
    page.click("main button[type=submit]")
    yield page
    context.close()
    assert complaints == []


def open_candidate(page: Page, detection: Detection, *, stretch: str = "zscale") -> None:
    page.goto(f"/vet/{detection.pk}/?stretch={stretch}")
    expect(page.locator("[data-painted]")).to_have_attribute("data-painted", stretch)


def test_the_numbers_under_the_cursor_are_those_of_the_frame(page: Page, world: World) -> None:
    detection = world.detections[1]
    planes = selectors.cutouts(detection)
    open_candidate(page, detection)
    line = page.locator("[data-readout]")
    expect(line).to_contain_text("Brighter than in the reference: flux S/N")
    page.locator("[data-pictures]").focus()
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowRight"):
        page.keyboard.press(key)
    # from pixel 90, 81: one to the right and one up, then five to the right
    expect(line).to_contain_text("x 96 y 82, 5.6″ W 1.1″ N of it")
    science, template, difference, score = (float(plane[32, 37]) for plane in planes)
    text = (line.text_content() or "").replace("\u2212", "-")
    told = dict(re.findall(r"(science|reference|difference|score) (-?[\d.]+)", text))
    wanted = {"science": science, "reference": template, "difference": difference, "score": score}
    for name, value in wanted.items():
        # rounded to a sixteenth of the noise, or 1/1024 of the value, then to four digits
        step = (1.0 if name == "score" else factories.NOISE) / 16
        assert float(told[name]) == pytest.approx(value, abs=np.hypot(step, value / 500)), name
    ratio = re.search(r"difference \S+ \((-?[\d.]+) σ\)", text)
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(difference / factories.NOISE, abs=0.2)
    expect(page.locator("[data-announce]")).to_contain_text("x 96 y 82")


@pytest.mark.parametrize("stretch", ["zscale", "asinh", "percentile", "linear"])
def test_the_gray_of_a_pixel_is_that_of_its_value_at_every_stretch(
    page: Page, world: World, stretch: display.StretchName
) -> None:
    detection = world.detections[1]
    science, template, _, _ = selectors.cutouts(detection)
    open_candidate(page, detection, stretch=stretch)
    limits = page.evaluate(
        """async () => {
          const { pixels } = JSON.parse(document.querySelector("[data-pictures]").dataset.pictures);
          const bytes = await (await fetch(pixels)).arrayBuffer();
          const n = new DataView(bytes).getUint32(0, true);
          return JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, n))).limits;
        }"""
    )[stretch]
    for name, plane in (("science", science), ("template", template)):
        for dx, dy in ((9, -7), (-6, 11), (15, 4)):
            value = plane[31 + dy : 32 + dy, 31 + dx : 32 + dx]
            wanted = display.scale_to_bytes(value, display.Limits(*limits), stretch=stretch)[0, 0]
            gray = page.evaluate(GRAY, [name, dx, dy])[:3]
            # a value is rounded by 1/32 of the noise: a few of 255 steps where they are narrow
            slope = 255 * factories.NOISE / 32 / (limits[1] - limits[0])
            slope *= 4 if stretch == "asinh" else 1
            assert gray == [pytest.approx(int(wanted), abs=1.5 + slope)] * 3, (name, dx, dy)


def test_what_was_never_measured_is_crossed_in_a_colour_of_its_own(
    page: Page, world: World
) -> None:
    open_candidate(page, world.detections[0])
    # 75 pixels around 20, 22: the first columns and rows lie beyond the frame
    for panel in ("science", "template", "difference", "ratio"):
        colours = {tuple(page.evaluate(GRAY, [panel, dx / 8 - 36, -30])[:3]) for dx in range(8)}
        assert colours == {display.MISSING_COLOUR, (20, 0, 12)}, panel
    assert page.evaluate(GRAY, ["science", -15, 20])[:3] != list(display.MISSING_COLOUR)


def test_the_source_is_in_the_middle_and_stands_out_of_the_noise(page: Page, world: World) -> None:
    open_candidate(page, world.detections[1])
    red, green, blue, _ = page.evaluate(GRAY, ["ratio", 0, 0])
    assert red > 1.8 * max(green, blue), "more than ten times the noise is deep red"


def test_keys_and_drags_change_all_pictures_and_r_undoes_it(page: Page, world: World) -> None:
    open_candidate(page, world.detections[1])

    def grays() -> list[int]:
        return [page.evaluate(GRAY, [p, 9, -7])[0] for p in ("science", "template", "difference")]

    first = grays()
    page.keyboard.press("i")
    assert [255 - gray for gray in grays()] == first
    page.keyboard.press("i")
    for _ in range(3):
        page.keyboard.press("[")
    flat = grays()
    assert all(abs(b - 127.5) <= abs(a - 127.5) for a, b in zip(first, flat, strict=True))
    assert flat != first
    page.keyboard.press("r")
    assert grays() == first
    box = page.locator('canvas[data-panel="science"]').bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 50, steps=3)
    page.mouse.up()
    assert all(b > a for a, b in zip(first, grays(), strict=True) if a < 200), "brighter"
    page.keyboard.press("r")
    page.keyboard.press("+")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 2)
    expect(page.locator("[data-readout]")).to_contain_text("25.1″ N of it")  # of 37 at first


def test_b_held_shows_the_reference_pixel_for_pixel(page: Page, world: World) -> None:
    open_candidate(page, world.detections[1])
    reference = page.evaluate(GRAY, ["template", -6, 11])
    science = page.evaluate(GRAY, ["science", -6, 11])
    assert science != reference
    page.keyboard.down("b")
    assert page.evaluate(GRAY, ["science", -6, 11]) == reference
    page.keyboard.up("b")
    assert page.evaluate(GRAY, ["science", -6, 11]) == science


def test_the_mask_is_shown_and_named(page: Page, world: World) -> None:
    open_candidate(page, world.detections[0])
    # the saturated pixels of these frames are at 20 to 22, 10 to 12
    before = page.evaluate(GRAY, ["template", 1, -11])
    page.keyboard.press("m")
    after = page.evaluate(GRAY, ["template", 1, -11])
    assert after != before
    expect(page.locator('[data-tool="mask"]')).to_have_attribute("aria-pressed", "true")
    page.locator("[data-pictures]").focus()
    for key in ["ArrowRight", *["Shift+ArrowDown"] * 2, "ArrowDown"]:
        page.keyboard.press(key)
    expect(page.locator("[data-readout]")).to_contain_text("masked: saturated")


def test_n_shows_the_score_and_without_a_noise_it_is_shown_at_once(
    page: Page, world: World
) -> None:
    open_candidate(page, world.detections[1])
    label = page.locator("[data-panel-label]").nth(3)
    expect(label).to_have_text("Difference / noise")
    page.keyboard.press("n")
    expect(label).to_have_text("Score")
    DifferenceRun.objects.update(preview_file=None)
    open_candidate(page, world.detections[1])
    expect(label).to_have_text("Score")
    expect(page.locator("[data-panel-label]").nth(4)).to_have_text("Context: not kept")


def test_pixels_that_cannot_be_had_are_told_and_the_candidate_can_still_be_decided(
    page: Page, world: World
) -> None:
    from curation.models import Verdict

    page.route("**/pixels/*", lambda route: route.fulfill(status=200, body="no pixels"))
    page.goto(f"/vet/{world.detections[1].pk}/")
    expect(page.locator("[data-trouble]")).to_contain_text("The pixels could not be loaded")
    page.wait_for_timeout(300)
    page.keyboard.press("3")
    expect(page.locator("[data-decided-count]")).to_have_text("1")
    wait_until(Verdict.objects.exists, within_s=10, what="the decision is stored")
    assert Verdict.objects.get().label == "unsure"


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark", "red"])
def test_by_day_by_night_and_in_red_light_the_page_is_whole_and_readable(
    page: Page, world: World, theme: str, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)
    page.evaluate("theme => localStorage.setItem('astrid-theme', theme)", theme)
    open_candidate(page, world.detections[1])
    assert page.evaluate(CHECKS) == []
    if size == DESK:
        assert page.evaluate("document.documentElement.scrollHeight - innerHeight") <= 0
    if theme == "red":
        picture = np.asarray(Image.open(BytesIO(page.screenshot())).convert("RGB"))
        assert picture[..., 1:].max() == 0, "no light but red"
        assert picture[..., 0].max() == 255


@pytest.mark.django_db
def test_the_numbers_are_few_and_never_asked_for_twice(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    detection = selectors.with_pixels(Detection.objects.all())[0]
    client = client_of("viewer")
    digest = selectors.pixel_digest(detection)
    answer = client.get(reverse("detection:pixels", args=[detection.pk, digest]))
    assert len(answer.content) <= 25_000
    assert len(gzip.decompress(answer.content)) > 63 * 63 * 2 * 4
    assert answer["Cache-Control"] == "private, max-age=31536000, immutable"
    other = client.get(reverse("detection:pixels", args=[detection.pk, "0" * 64]))
    assert other["Cache-Control"] == "private, no-store"
    assert other.content == answer.content
    DifferenceRun.objects.update(preview_file=None)
    detection = selectors.with_pixels(Detection.objects.all())[0]
    assert selectors.pixel_digest(detection) != digest, "drawn anew, it has another address"
    detection.run.cutouts_file = None
    detection.run.save()
    gone = client.get(reverse("detection:pixels", args=[detection.pk, digest]))
    assert gone.status_code == 404
