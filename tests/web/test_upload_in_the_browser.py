"""A refused upload in a real browser: its reason stands on the page, nothing in the console."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.api.fixtures import frame_bytes
from tests.web import factories

pytestmark = pytest.mark.e2e


def test_a_refused_upload_tells_why_on_the_page_and_leaves_the_console_clean(
    chromium: Browser, site: str
) -> None:
    factories.make_user("rea", "researcher")
    context = chromium.new_context(base_url=site)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(line.text))
    page.goto("/account/login/")
    page.fill("#id_username", "rea")
    page.fill("#id_password", factories.PASSWORD)
    page.click("main button[type=submit]")
    bad_table = {"name": "t.csv", "mimeType": "text/csv", "buffer": b"file,wobble\none.fits,1\n"}
    for name, data, table, said in (
        ("empty.fits", b"", None, "empty"),
        ("one.fits", frame_bytes(1), bad_table, "wobble"),
    ):
        page.goto("/observations/upload/")
        page.fill("#id_survey", "Mine")
        page.set_input_files(
            "#id_frames", {"name": name, "mimeType": "application/fits", "buffer": data}
        )
        if table:
            page.set_input_files("#id_sidecar", table)
        page.click("main form[data-upload] button[type=submit]")
        result = page.locator("[data-list] li").last
        expect(result.locator(".badge")).to_have_text("refused")
        expect(result).to_contain_text(said)
    context.close()
    assert complaints == []
