"""One night on the running product, by keyboard alone: from frames to a light curve."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import Watched
from tests.e2e.pictures import keep_picture, load_pictures, update_picture
from tests.e2e.product import Product
from tests.e2e.rest import Rest
from tests.servers import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(420)]

N_DECISIONS = 20
#: The first of the five frames is the reference of the others.
N_EPOCHS = 4
#: A person looks before pressing; the next candidates load meanwhile.
LOOK_MS = 150
#: From a key to the painted next candidate, with both cores busy.
SLOWEST_P95_MS = 500.0
WORK_PATIENCE_MS = 180_000
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
ANSWERS = {
    "1": "real",
    "2": "bogus",
    "3": "unsure",
    "4": "variable",
    "5": "moving",
    "Shift+Digit1": "bogus",
}
KEYS = ["1", "1", "2", "Shift+Digit1", "1", "3", "4", "1", "5", "1"]

_RECORD = """() => {
  const words = (selector) =>
    [...document.querySelectorAll(selector)].map((e) => e.textContent.trim().replace(/\\s+/g, " "));
  window.story = { funnel: [], jobs: [], progress: [] };
  const note = () => {
    const now = { funnel: words(".funnel strong"), jobs: words(".work-line > span:first-child"),
                  progress: words(".work-line > span:last-child") };
    story.funnel.push(now.funnel.join(" "));
    story.jobs.push(...now.jobs);
    story.progress.push(...now.progress);
  };
  note();
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true });
}"""
_TIME_PAINTS = """() => {
  window.paints = [];
  let pressed = 0;
  addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  const stage = document.querySelector("[data-stage]");
  new MutationObserver(async () => {
    const began = pressed;
    const card = stage.querySelector("[data-candidate]");
    if (!card) return;
    while (!card.querySelector("[data-painted]")) await new Promise(requestAnimationFrame);
    requestAnimationFrame(() => {
      const afterPaint = new MessageChannel();
      afterPaint.port1.onmessage = () => paints.push(performance.now() - began);
      afterPaint.port2.postMessage(0);
    });
  }).observe(stage, { childList: true });
}"""


def test_a_night_from_the_first_frame_to_the_light_curve(
    night: Watched, product: Product, frames: list[Path], tmp_path: Path
) -> None:
    log_in(night, product)
    rest = Rest(product.address, make_key(night))
    upload(night, frames)
    watch_the_work(night)
    decided = vet(night)
    undone = take_the_last_one_back(night, decided)
    compare_verdicts(rest, decided, undone=undone)
    address = open_object(night)
    read_light_curve(night, rest.get(f"objects/{address.rstrip('/').rpartition('/')[2]}/"))
    look_at_every_page(night, address, tmp_path / "pages")


def log_in(night: Watched, product: Product) -> None:
    night.open("/")
    assert night.page.url == f"{product.address}/account/login/?next=/"
    assert night.check() == []
    focused = night.page.evaluate("document.activeElement.id")
    if focused != "id_username":
        night.tab_to("#id_username")
    night.page.keyboard.type(product.name)
    night.tab_to("#id_password")
    night.page.keyboard.type(product.password)
    night.page.keyboard.press("Enter")
    night.page.wait_for_url(f"{product.address}/")
    expect(night.page.locator("h1")).to_have_text("Tonight")


def make_key(night: Watched) -> str:
    """An API key for reading, made on the account page."""
    night.follow('.site-tools a[href="/account/"]', to="**/account/")
    night.tab_to("#id_name")
    night.page.keyboard.type("story")
    night.page.keyboard.press("Enter")
    return night.page.locator("[data-secret]").inner_text().strip()


def upload(night: Watched, frames: list[Path]) -> None:
    """Hand every file over at once; each gets its own answer."""
    page = night.page
    night.follow('nav a[href="/observations/"]', to="**/observations/")
    night.follow('a[href="/observations/upload/"]', to="**/upload/")
    night.tab_to("#id_survey")
    page.keyboard.type("First light")
    page.set_input_files("#id_frames", frames)
    night.tab_to("[data-upload] button[type=submit]")
    page.keyboard.press("Enter")
    lines = page.locator("[data-list] li")
    expect(lines).to_have_count(len(frames))
    expect(lines.locator(".badge.succeeded")).to_have_count(len(frames) - 1, timeout=60_000)
    refused = lines.filter(has_text="saved-page.fits")
    expect(refused.locator(".badge")).to_have_text("refused")
    assert re.search(r"not .*FITS", refused.inner_text())


def watch_the_work(night: Watched) -> None:
    """See the funnel fill and jobs come and go, on a page that is never loaded again."""
    page = night.page
    night.follow('nav a[href="/"]', to=f"{night.address}/")
    documents = night.documents
    page.evaluate(_RECORD)
    expect(page.locator("[data-live-light]")).to_have_text("live")
    funnel = page.locator(".funnel")
    expect(funnel).to_contain_text("4 finished, 1 skipped", timeout=WORK_PATIENCE_MS)
    expect(page.get_by_text("Nothing runs and nothing waits.")).to_be_visible(timeout=10_000)
    expect(page.get_by_text("Nothing failed.")).to_be_visible()
    counts = [int(n) for n in funnel.locator("strong").all_inner_texts()]
    assert counts[:3] == [5, 5, N_EPOCHS]
    assert counts[5] > N_DECISIONS, "objects to decide"
    story = page.evaluate("story")
    stages = {line.partition("·")[0].strip() for line in story["jobs"]}
    print(f"\nseen live: {len(set(story['funnel']))} states of the funnel, jobs {sorted(stages)},")
    print(f"  progress {sorted(set(story['progress']), key=lambda s: int(s.split()[0]))}")
    # Parts are read again at most once a second: a fast machine shows fewer steps.
    assert len(set(story["funnel"])) >= 3
    assert len(stages) >= 2
    assert len(set(story["progress"])) >= 2
    assert night.documents == documents
    update_picture(page, "tonight.png")


def shown(page: Page) -> str:
    """Key of the candidate on the page."""
    return page.locator("[data-candidate]").get_attribute("data-candidate") or ""


def vet(night: Watched) -> dict[str, str]:
    """Decide candidates as fast as they can be looked at; what was said of each."""
    page = night.page
    night.follow('nav a[href="/vet/"]', to="**/vet/")
    page.wait_for_load_state("networkidle")
    update_picture(page, "vet.png")
    page.evaluate(_TIME_PAINTS)
    decided: dict[str, str] = {}
    for n in range(N_DECISIONS):
        page.wait_for_timeout(LOOK_MS)
        key = KEYS[n % len(KEYS)]
        decided[shown(page)] = ANSWERS[key]
        page.keyboard.press(key)
        page.wait_for_function("n => paints.length === n", arg=n + 1, timeout=10_000)
    assert len(decided) == N_DECISIONS
    expect(page.locator("[data-decided-count]")).to_have_text(str(N_DECISIONS))
    paints = sorted(page.evaluate("paints"))
    p50, p95 = statistics.median(paints), statistics.quantiles(paints, n=20)[-1]
    print(f"key to painted candidate: median {p50:.0f} ms, p95 {p95:.0f} ms, n {len(paints)}")
    assert p95 < SLOWEST_P95_MS
    return decided


def take_the_last_one_back(night: Watched, decided: dict[str, str]) -> str:
    """Undo; the candidate is on the page again."""
    page = night.page
    last = list(decided)[-1]
    assert shown(page) != last
    page.keyboard.press("u")
    expect(page.locator(f'[data-candidate="{last}"]')).to_have_count(1)
    expect(page.locator("[data-decided-count]")).to_have_text(str(N_DECISIONS - 1))
    return last


def compare_verdicts(rest: Rest, decided: dict[str, str], *, undone: str) -> None:
    """What REST tells of verdicts is what the keys said, once each, and the undo."""
    wait_until(
        lambda: rest.labels(undone)[-1:] == ["withdrawn"], within_s=20, what="the undo arrives"
    )
    history = {candidate: rest.labels(candidate) for candidate in decided}
    wanted = {candidate: [label] for candidate, label in decided.items()}
    assert history == wanted | {undone: [decided[undone], "withdrawn"]}
    kept = [label for candidate, label in decided.items() if candidate != undone]
    assert rest.count("objects/?state=confirmed") == kept.count("real")
    assert rest.count("objects/?state=rejected") == kept.count("bogus")


def open_object(night: Watched) -> str:
    """From the candidate to its object; returns the address of its page."""
    night.follow("[data-candidate] h1 a", to="**/objects/*/")
    update_picture(night.page, "object.png")
    return night.page.url.removeprefix(night.address)


def read_light_curve(night: Watched, told: dict[str, Any]) -> None:
    """The drawing and the table say what REST says, in words and by keyboard."""
    page = night.page
    curve = sorted(told["light_curve"], key=lambda point: point["mjd"])
    totals = [point for point in curve if point["kind"] == "total"]
    points = [p for p in curve if p["kind"] == "difference" and "REFERENCE" not in p["flags"]]
    assert len(points) == N_EPOCHS
    assert len(totals) > len(points), "epochs of the reference have a total flux too"
    chart = '.chart.wide[aria-label^="Difference flux"]'
    assert page.locator(f"{chart} .reference[data-mark]").count() == len(totals) - len(points)
    marks = page.locator(f"{chart} .mark:not(.reference)[data-mark]")
    spoken = [numbers(mark.get_attribute("aria-label")) for mark in marks.all()]
    assert spoken == [[pytest.approx(p["mjd"], abs=1e-4), *as_people_read_it(p)] for p in points]
    night.tab_to(".chart.wide [data-mark]")
    note = page.evaluate("document.activeElement.getAttribute('aria-label')")
    expect(page.locator("[data-chart-note]").first).to_have_text(note)
    night.tab_to(".total-flux summary")
    page.keyboard.press("Enter")
    marks = page.locator(".total-flux .chart.wide [data-mark]")
    expect(marks.first).to_be_visible()
    assert marks.count() == len([p for p in totals if p["limiting_magnitude"] is not None])
    night.tab_to(".epoch-table summary")
    page.keyboard.press("Enter")
    rows = page.locator(".epoch-table[open] tbody tr")
    expect(rows.first).to_be_visible()
    expect(rows).to_have_count(len(totals))
    subtracted = rows.filter(has_not_text="part of the reference")
    table = sorted(row.locator("td").all_inner_texts() for row in subtracted.all())
    assert len(table) == len(points)
    for cells, point in zip(table, points, strict=True):
        assert numbers(cells[0]) == pytest.approx([point["mjd"]], abs=1e-5)
        assert numbers(cells[2]) == as_people_read_it(point)
        magnitude = [point["magnitude"], point["magnitude_error"]]
        said = numbers(cells[3])
        assert said == pytest.approx([m for m in magnitude if m is not None], abs=0.00501)
        assert numbers(cells[4]) == pytest.approx([point["limiting_magnitude"]], abs=0.00501)


def as_people_read_it(point: dict[str, Any]) -> list[Any]:
    """Flux and error in microjansky; both are shown to two digits of the error."""
    error = point["flux_error_ujy"]
    return [pytest.approx(value, abs=0.051 * error) for value in (point["flux_ujy"], error)]


def numbers(text: str | None) -> list[float]:
    """Every number in a text as people read it."""
    plain = (text or "").replace("\u2212", "-").replace(",", "")
    return [float(word) for word in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", plain)]


def look_at_every_page(night: Watched, object_address: str, folder: Path) -> None:
    """Desk and phone, by day and by night: nothing too wide, nothing without words."""
    page = night.page
    frame = page.locator(".finder figcaption a").get_attribute("href") or ""
    assert re.fullmatch(r"/observations/[0-9a-f-]{36}/", frame)
    pages = {
        "tonight": "/",
        "observations": "/observations/",
        "upload": "/observations/upload/",
        "observation": frame,
        "vet": "/vet/",
        "objects": "/objects/",
        "object": object_address,
        "account": "/account/",
        "password": "/account/password/",
    }
    faults: dict[str, list[str]] = {}
    for name, address in pages.items():
        night.open(address)
        load_pictures(page)
        for screen, size in {"desk": DESK, "phone": PHONE}.items():
            for scheme in ("light", "dark"):
                page.set_viewport_size(size)  # type: ignore[arg-type]
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                keep_picture(page, folder / f"{name}-{screen}-{scheme}.png")
                if found := night.check():
                    faults[f"{name}, {screen}, {scheme}"] = found
    night.open("/api/v1/docs/")
    assert faults == {}
