"""In a real browser: vetting one survey by keys, and handing in frames with a table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from observations.models import Observation
from tests.api.fixtures import frame_bytes
from tests.servers import wait_until
from tests.web import factories
from tests.web.factories import World

pytestmark = pytest.mark.e2e

LOOK_MS = 200


@pytest.fixture
def page(chromium: Browser, site: str) -> Iterator[Page]:
    """A page of a researcher; whatever its scripts complain of fails the test."""
    factories.make_user("researcher", "researcher")
    context = chromium.new_context(base_url=site)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/account/login/")
    page.fill("#id_username", "researcher")
    page.fill("#id_password", factories.PASSWORD)
    page.click("main button[type=submit]")
    yield page
    context.close()
    assert complaints == []


def shown(page: Page) -> str:
    return page.locator("[data-candidate]").get_attribute("data-candidate") or ""


def test_keys_stay_in_the_survey_that_was_chosen(page: Page) -> None:
    sources = [(60.3, 70.2, 5000.0), (110.4, 40.9, 2500.0), (40.1, 120.7, 4000.0)]
    simulated = World(factories.make_survey("Made up"))
    factories.make_epoch(simulated, 0, sources=sources)
    real = World(factories.make_survey("Real sky", is_simulated=False))
    factories.make_epoch(real, 1, sources=sources)
    wanted = {str(detection.pk) for detection in real.detections}

    page.goto("/vet/?stretch=asinh")
    expect(page.locator("[data-waiting-count]")).to_have_text("6")
    page.select_option("[data-survey-choice] select", "real-sky")
    page.wait_for_url("**/vet/?survey=real-sky&stretch=asinh")
    expect(page.locator("[data-waiting-count]")).to_have_text("3")
    expect(page.locator("[data-survey-choice] button")).to_have_count(0)
    decided = []
    for _ in range(3):
        decided.append(shown(page))
        expect(page.locator("[data-survey-name]")).to_have_text("Real sky")
        page.wait_for_timeout(LOOK_MS)
        page.keyboard.press("1")
        expect(page.locator(f'[data-candidate="{decided[-1]}"]')).to_have_count(0)
    assert set(decided) == wanted
    expect(page.locator("[data-done]")).to_contain_text("Nothing waits for you in Real sky")
    assert page.url.endswith("/vet/?survey=real-sky")
    page.keyboard.press("u")
    page.wait_for_url(f"**/vet/{decided[-1]}/?survey=real-sky")


def test_a_table_and_the_planes_it_names_go_with_their_frames(page: Page) -> None:
    def file(name: str, data: bytes) -> dict[str, object]:
        return {"name": name, "mimeType": "application/octet-stream", "buffer": data}

    frames = [
        file("one.fits", frame_bytes(1)),
        file("two.fits", frame_bytes(2)),
        file("dots.fits", frame_bytes(3)),
        file("two_mask.fits", frame_bytes(4)),
    ]
    good = b"file,target,mask\none.fits,M 31,dots.fits\ntwo.fits,M 33,\n"
    page.goto("/observations/upload/")
    page.fill("#id_survey", "Mine")
    lines = page.locator("[data-list] li")

    page.set_input_files("#id_sidecar", file("night.csv", good.replace(b"M 33", b"M 33,7")))
    page.set_input_files("#id_frames", frames)
    page.click("[data-upload] button[type=submit]")
    expect(lines).to_have_count(1)
    expect(lines).to_contain_text("night.csv line 3: more values than columns")

    page.set_input_files("#id_sidecar", file("night.csv", good))
    page.set_input_files("#id_frames", frames)
    page.click("[data-upload] button[type=submit]")
    expect(lines).to_have_count(4)
    expect(lines.filter(has_text="two_mask.fits")).to_contain_text("looks_like_companion")
    for name in ("one.fits", "two.fits"):
        line = lines.filter(has=page.get_by_role("link", name=name))
        expect(line.locator(".badge")).to_have_text("created")
    wait_until(lambda: Observation.objects.count() == 2, within_s=10, what="two observations")
    one, two = Observation.objects.order_by("target")
    assert (one.target, two.target) == ("M 31", "M 33")
    assert one.mask_file is not None
    assert one.mask_file.name == "dots.fits"
    assert two.mask_file is None
