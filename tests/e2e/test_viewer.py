"""The full-frame viewer on the running product: what it shows is what the product holds."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from PIL import Image as PillowImage
from playwright.sync_api import Browser, Page, expect, sync_playwright

from astrid_site.imaging.fits_products import read_product
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from tests.e2e.browser import FLAGS, Watched, find_chromium
from tests.e2e.pictures import keep_picture
from tests.e2e.product import ROOT, Product, write_survey

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

WORK_PATIENCE_MS = 240_000
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
SKIES = """async (places) => {
  const { Sky } = await import("/static/js/viewer/sky.js");
  const state = JSON.parse(document.querySelector("[data-viewer]").dataset.state);
  const sky = new Sky(state.sky);
  return places.map(([x, y]) => { const p = sky.at(x, y); return [p.ra, p.dec]; });
}"""


@dataclass(frozen=True)
class Night:
    """One worked-through frame and its products, as the site gives them out."""

    path: str
    science: Image
    difference: Image
    score: Image


class Viewer:
    """The viewer in one page, with what it says of itself."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator("[data-viewer]")
        self.canvas = page.locator("[data-canvas]")

    def wait(self) -> None:
        """Until every tile in view is painted."""
        # two frames: the one that knows what has changed, and the one that paints it
        self.page.evaluate(
            "() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"
        )
        expect(self.root).to_have_attribute("data-ready", "true", timeout=20_000)

    def open(self, path: str, query: str = "") -> None:
        self.page.goto(f"{path}viewer/{query}")
        self.wait()

    @property
    def view(self) -> dict[str, float]:
        return json.loads(self.root.get_attribute("data-view") or "{}")

    @property
    def layer(self) -> str:
        return self.root.get_attribute("data-layer") or ""

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.wait()

    def middle(self) -> tuple[float, float]:
        box = self.canvas.bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def read(self, layer: str, cell: str = "value") -> float:
        """A number of the readout, once it is there."""
        found = self.page.locator(f'[data-values="{layer}"] [data-{cell}]')
        expect(found).not_to_have_text("…")
        return float(found.inner_text().replace("−", "-"))

    def colour(self) -> tuple[int, ...]:
        """Colour seen beside the middle of the canvas, where the cross leaves a hole."""
        left, top = self.middle()
        clip = {"x": round(left) + 2, "y": round(top) + 2, "width": 1, "height": 1}
        picture = PillowImage.open(io.BytesIO(self.page.screenshot(clip=clip)))
        found: tuple[int, ...] = picture.convert("RGB").getpixel((0, 0))
        return found


@contextmanager
def pointed_page(browser: Browser, product: Product, **options: Any) -> Iterator[Watched]:
    """A page that may be pointed at; nothing in it may have complained when it is closed."""
    context = browser.new_context(
        base_url=product.address, **{"viewport": DESK, "color_scheme": "light"} | options
    )
    watched = Watched(context.new_page(), product.address)
    page = watched.page
    page.goto("/account/login/")
    page.fill("#id_username", product.name)
    page.fill("#id_password", product.password)
    page.click("main button[type=submit]")
    page.wait_for_url("**/")
    yield watched
    assert watched.complaints == []
    context.close()


def take_in(product: Product, folder: Path) -> None:
    """Hand a folder of frames over at the command line."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ASTRID_")}
    kept = {k: v for k, v in kept.items() if k not in {"DATABASE_URL", "DJANGO_SETTINGS_MODULE"}}
    subprocess.run(
        [sys.executable, "manage.py", "ingest", str(folder), "--survey", "Viewed sky"],
        cwd=ROOT,
        env=kept | {"ASTRID_DATA_DIR": str(product.folder)},
        check=True,
        capture_output=True,
        timeout=120,
    )


def worked_through(page: Page, folder: Path) -> Night:
    """Wait for a frame to be done, and fetch its products."""
    page.goto("/observations/?status=succeeded")
    link = page.locator("tbody a[href^='/observations/']").first
    while not link.count():
        page.wait_for_timeout(2000)
        page.reload()
    path = link.get_attribute("href") or ""
    page.goto(path)
    expect(page.locator("figure.preview")).to_have_count(4)
    images = {}
    for panel in ("science", "difference", "score"):
        file = page.locator(f'figure[data-panel="{panel}"] a[href^="/files/"]')
        answer = page.context.request.get(file.get_attribute("href") or "")
        (folder / f"{panel}.fits").write_bytes(answer.body())
        images[panel], _ = read_product(folder / f"{panel}.fits")
    return Night(path, **images)


def allowed(image: Image, value: float) -> float:
    """Rounding of a tile's value: half a step near zero, half of 1/1024 far from it; 5 digits."""
    assert image.variance is not None
    step = float(np.sqrt(np.median(image.variance[image.variance > 0]))) / 16
    return 0.6 * float(np.hypot(step, value / 1024)) + 5e-5 * abs(value)


def check_places_and_values(viewer: Viewer, night: Night) -> None:
    """The readout at a pixel equals the product; the sky equals astropy everywhere."""
    wcs, shape = night.difference.wcs, night.science.shape
    assert wcs is not None
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-0.5, shape[1] - 0.5, 200), rng.uniform(-0.5, shape[0] - 0.5, 200)
    found = np.array(viewer.page.evaluate(SKIES, np.stack([x, y], axis=1).tolist()))
    truth = SkyCoord(*wcs.all_pix2world(x, y, 0), unit="deg")
    apart = SkyCoord(found[:, 0], found[:, 1], unit="deg").separation(truth).arcsec
    scale = float(np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix)))) * 3600
    assert apart.max() < 0.1 * scale

    bright = np.where(night.difference.mask == 0, night.score.data, 0)
    row, column = (int(v) for v in np.unravel_index(bright.argmax(), shape))
    for x, y in ((column, row), (37, 45), (shape[1] - 60, shape[0] - 60)):
        viewer.open(night.path, f"?x={x}&y={y}")
        expect(viewer.root).to_have_attribute("data-pixel", f"{x},{y}")
        science = float(night.science.data[y, x])
        assert viewer.read("science") == pytest.approx(science, abs=allowed(night.science, science))
        if night.difference.mask[y, x] == 0:
            difference = float(night.difference.data[y, x])
            error = allowed(night.difference, difference)
            assert viewer.read("difference") == pytest.approx(difference, abs=error)
            score = float(night.score.data[y, x])
            # rounded to a sixteenth of a sigma
            assert viewer.read("score") == pytest.approx(score, abs=0.04 + abs(score) / 1000)
            noise = float(np.sqrt(night.difference.variance[y, x]))
            snr = viewer.read("difference", "snr")
            # half a decimal shown, half a sixteenth of the noise, and a percent of its own rounding
            assert snr == pytest.approx(difference / noise, abs=0.09 + 0.015 * abs(snr))
        degrees = viewer.page.locator('[data-read="degrees"]').inner_text().split(", ")
        told = SkyCoord(*(float(part) for part in degrees), unit="deg")
        truth = SkyCoord(*wcs.all_pix2world(x, y, 0), unit="deg")
        assert told.separation(truth).arcsec < 0.1 * scale


def check_pan_and_zoom(viewer: Viewer, night: Night) -> None:
    """By mouse, wheel and keys; the place under the pointer stays under it."""
    viewer.open(night.path)
    page, (left, top) = viewer.page, viewer.middle()
    whole = viewer.view
    viewer.press("z")
    assert viewer.view["scale"] == pytest.approx(1)
    before = viewer.view
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 60, top - 25, steps=4)
    page.mouse.up()
    viewer.wait()
    assert viewer.view["x"] == pytest.approx(before["x"] - 60)
    assert viewer.view["y"] == pytest.approx(before["y"] - 25)
    before = viewer.view
    page.mouse.move(left + 100, top + 50)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(100)
    viewer.wait()
    after = viewer.view
    assert after["scale"] == pytest.approx(np.exp(300 / 400), rel=1e-3)
    for axis, offset in (("x", 100), ("y", -50)):
        under = before[axis] + offset / before["scale"]
        assert after[axis] + offset / after["scale"] == pytest.approx(under, abs=0.6)
    for key, axis, sign in (
        ("ArrowLeft", "x", -1), ("ArrowRight", "x", 1), ("ArrowUp", "y", 1), ("ArrowDown", "y", -1),
    ):  # fmt: skip
        before = viewer.view
        viewer.press(key)
        assert viewer.view[axis] - before[axis] == pytest.approx(sign * 64 / before["scale"])
        viewer.press(f"Shift+{key}")
        assert viewer.view[axis] - before[axis] == pytest.approx(sign * (64 / before["scale"] + 1))
    before = viewer.view
    viewer.press("+")
    assert viewer.view["scale"] == pytest.approx(1.5 * before["scale"])
    viewer.press("-")
    viewer.press("0")
    assert viewer.view == whole
    page.click('[data-zoom="in"]')
    viewer.wait()
    assert viewer.view["scale"] == pytest.approx(1.5 * whole["scale"])


def check_blink_and_stretch(viewer: Viewer, night: Night) -> None:
    bright = np.where(night.science.mask == 0, night.science.data, 0)
    row, column = (int(v) for v in np.unravel_index(bright.argmax(), bright.shape))
    viewer.open(night.path, f"?x={column}&y={row}")
    page = viewer.page
    star = viewer.colour()
    assert min(star) > 200
    page.select_option("[data-blink-with]", "difference")
    page.keyboard.down("b")
    viewer.wait()
    assert viewer.layer == "difference"
    assert viewer.colour() != star
    page.keyboard.up("b")
    viewer.wait()
    assert viewer.layer == "science"
    assert viewer.colour() == star
    button = page.locator("[data-blink]").bounding_box()
    assert button is not None
    page.mouse.move(button["x"] + 5, button["y"] + 5)
    page.mouse.down()
    viewer.wait()
    assert viewer.layer == "difference"
    page.mouse.up()
    viewer.wait()
    assert viewer.layer == "science"
    viewer.press("i")
    assert max(viewer.colour()) < 60
    viewer.press("i")
    for wanted in ("percentile", "asinh", "linear", "zscale"):
        viewer.press("s")
        assert page.locator("[data-stretch]").input_value() == wanted
    for number, wanted in enumerate(("science", "template", "difference", "score"), start=1):
        viewer.press(str(number))
        assert viewer.layer == wanted
        expect(page.locator(f'[name="layer"][value="{wanted}"]')).to_be_checked()


def check_mask(viewer: Viewer, night: Night) -> None:
    """A masked pixel takes the colour of its plane; the readout names the plane."""
    planes = [p for p in MaskPlane if (night.science.mask & np.uint16(p)).any()]
    plane = planes[-1]
    row, column = (int(v[0]) for v in np.nonzero(night.science.mask & np.uint16(plane)))
    viewer.open(night.path, f"?x={column}&y={row}")
    label = str(plane.name).replace("_", " ").lower()
    expect(viewer.page.locator('[data-read="mask"]')).to_contain_text(label)
    for _ in range(4):
        viewer.press("+")
    bare = viewer.colour()
    box = viewer.page.locator(f'[data-plane][value="{int(plane)}"]')
    box.check()
    viewer.wait()
    assert viewer.colour() != bare
    box.uncheck()
    viewer.wait()
    assert viewer.colour() == bare
    viewer.press("m")
    expect(viewer.page.locator("[data-all-planes]")).to_be_checked()
    assert viewer.colour() != bare
    viewer.press("m")
    assert viewer.colour() == bare


def check_candidates(viewer: Viewer, night: Night) -> None:
    """Rings lie on their pixels and lead to their pages; keys go from one to the next."""
    viewer.open(night.path)
    page = viewer.page
    marks = json.loads(viewer.root.get_attribute("data-state") or "")["marks"]
    assert len(marks) > 3
    viewer.press("n")
    assert viewer.view["x"] == pytest.approx(marks[0]["x"])
    assert viewer.view["y"] == pytest.approx(marks[0]["y"])
    expect(page.locator("[data-say]")).to_contain_text(marks[0]["label"])
    ring = page.locator(".viewer-marks .chosen .ring").bounding_box()
    assert ring is not None
    left, top = viewer.middle()
    assert ring["x"] + ring["width"] / 2 == pytest.approx(left, abs=1)
    assert ring["y"] + ring["height"] / 2 == pytest.approx(top, abs=1)
    viewer.press("p")
    assert viewer.view["x"] == pytest.approx(marks[-1]["x"])
    viewer.press("c")
    expect(page.locator("[data-marks]")).to_be_hidden()
    viewer.press("c")
    # a drag that begins on a ring moves the frame and follows no link
    left, top = viewer.middle()
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 40, top, steps=3)
    page.mouse.up()
    viewer.wait()
    assert "/viewer/" in page.url
    viewer.press("n")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{marks[0]['url']}")


def check_touch(viewer: Viewer, night: Night) -> None:
    """One finger moves, two fingers zoom, a tap reads."""
    viewer.open(night.path)
    page = viewer.page
    page.locator("[data-zoom='one']").tap()
    viewer.wait()
    left, top = viewer.middle()
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *fingers: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(fingers)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    before = viewer.view
    send("touchStart", (left, top))
    for step in range(1, 6):
        send("touchMove", (left - 8 * step, top))
    send("touchEnd")
    viewer.wait()
    assert viewer.view["x"] == pytest.approx(before["x"] + 40, abs=1)
    send("touchStart", (left - 30, top), (left + 30, top))
    for step in range(1, 7):
        send("touchMove", (left - 30 - 5 * step, top), (left + 30 + 5 * step, top))
    send("touchEnd")
    viewer.wait()
    assert viewer.view["scale"] == pytest.approx(2.0, rel=0.02)
    page.touchscreen.tap(left + 20, top + 10)
    viewer.wait()
    x, y = (float(part) for part in page.locator('[data-read="pixel"]').inner_text().split(", "))
    assert x == pytest.approx(viewer.view["x"] + 20 / viewer.view["scale"], abs=0.6)
    assert y == pytest.approx(viewer.view["y"] - 10 / viewer.view["scale"], abs=0.6)


def check_keyboard_reaches_everything(watched: Watched, night: Night) -> None:
    watched.open(f"{night.path}viewer/")
    Viewer(watched.page).wait()
    for selector in ("[data-all-planes]", ".viewer-list summary", ".viewer-keys summary"):
        watched.tab_to(selector)
    watched.page.keyboard.press("Enter")
    expect(watched.page.locator(".viewer-keys")).to_have_attribute("open", "")
    watched.open(night.path)
    watched.follow(f'a[href="{night.path}viewer/"]', to="**/viewer/")


def test_the_viewer_shows_the_frame_as_it_is(product: Product, tmp_path: Path) -> None:
    write_survey(tmp_path / "survey")
    take_in(product, tmp_path / "survey")
    pictures = tmp_path / "pictures"
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS)) as browser,
    ):
        with pointed_page(browser, product) as watched:
            watched.page.set_default_timeout(WORK_PATIENCE_MS)
            night = worked_through(watched.page, tmp_path)
            viewer = Viewer(watched.page)
            viewer.open(night.path)
            assert watched.check() == []
            check_places_and_values(viewer, night)
            check_pan_and_zoom(viewer, night)
            check_blink_and_stretch(viewer, night)
            check_mask(viewer, night)
            check_candidates(viewer, night)
            check_keyboard_reaches_everything(watched, night)
        for scheme in ("light", "dark"):
            options = {"viewport": PHONE, "color_scheme": scheme, "has_touch": True}
            with pointed_page(browser, product, **options) as watched:
                viewer = Viewer(watched.page)
                viewer.open(night.path)
                assert watched.check() == []
                keep_picture(watched.page, pictures / f"viewer-phone-{scheme}.png")
                check_touch(viewer, night)
                watched.open(night.path)
                assert watched.check() == []
