"""The admin and the API's page in a real browser, under the strict content security policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections
from playwright.sync_api import Browser, Page, expect, sync_playwright

from astrid_site.accounts.models import User
from curation.models import Verdict
from tests.web.factories import PASSWORD, make_user, make_world

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium on this machine"),
]


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # playwright's loop runs in this thread, which Django takes for asynchronous code
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()
        # beside a running loop Django keeps a second set of connections for this thread
        connections.close_all()


class Witness:
    """Hears what the browser complains of and where it goes."""

    def __init__(self, page: Page, origin: str) -> None:
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("response", lambda answer: self._weigh(answer.status, answer.url))
        page.on("request", lambda request: self._see(request.url, origin))

    def _hear(self, message: object) -> None:
        kind, text = message.type, message.text  # type: ignore[attr-defined]
        if kind in {"error", "warning"}:
            self.complaints.append(f"{kind}: {text}")

    def _weigh(self, status: int, url: str) -> None:
        if status >= 400:
            self.complaints.append(f"{status} {url}")

    def _see(self, url: str, origin: str) -> None:
        if not url.startswith((origin, "data:", "blob:")):
            self.strangers.append(url)


def test_the_admin_and_the_api_page_work_under_the_strict_policy(
    live_server: object, browser: Browser
) -> None:
    origin = str(live_server)
    make_user("boss", "admin")
    world = make_world(n_epochs=1, sources_per_field=1)
    page = browser.new_page()
    page.set_default_timeout(15_000)
    witness = Witness(page, origin)

    page.goto(f"{origin}/admin/")
    page.fill("input[name=username]", "boss")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(f"{origin}/admin/")

    page.goto(f"{origin}/admin/detection/detection/")
    pictures = page.locator("#result_list img[alt='difference cutout']")
    assert pictures.count() == len(world.detections)
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("naturalWidth", 63)
    page.check("#action-toggle")  # the admin's own script selects the rows
    assert page.locator("tr.selected").count() == len(world.detections)
    page.select_option("select[name=action]", "mark_real")
    page.click("button[name=index]")
    page.wait_for_selector(".messagelist .info")
    assert Verdict.objects.filter(label="real").count() == len(world.detections)

    page.goto(f"{origin}/admin/accounts/user/{User.objects.get().pk}/change/")
    page.wait_for_selector("#id_groups_to")  # built by script from the plain select
    page.goto(f"{origin}/admin/observations/survey/add/")
    page.type("#id_name", "Night Survey 7")
    assert page.input_value("#id_slug") == "night-survey-7"

    page.goto(f"{origin}/api/v1/docs/")
    page.wait_for_selector(".opblock-summary-path")
    page.locator(".opblock-summary-control").first.click()
    page.wait_for_selector(".opblock.is-open")

    assert witness.strangers == []
    assert witness.complaints == []
