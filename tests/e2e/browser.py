"""A browser that notices everything it should never see, and is driven by keys alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Response, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
#: Runs in every document before its own scripts; what it logs as an error fails the test.
_WATCH = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.effectiveDirective} forbids ${event.blockedURI}`);
});
for (const kind of ["mousedown", "mousemove", "pointerdown", "touchstart", "wheel"]) {
  addEventListener(kind, (event) => event.isTrusted && console.error(`not a key: ${kind}`), true);
}
"""
_CHECKS = Path(__file__).with_name("page_checks.js").read_text()
_MAX_TABS = 60


def find_chromium() -> str:
    """The system's Chromium; without one the test is skipped, in CI it fails."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found:
        return found
    reason = "Chromium is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class Watched:
    """One page of a fresh browser; everything it does is kept."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        self.documents = 0
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("request", self._ask)
        page.on("response", self._answer)

    def open(self, path: str) -> None:
        """Go to an address of the site as if it were typed in."""
        self.page.goto(path)

    def tab_to(self, selector: str) -> None:
        """Press Tab until what is wanted has the focus, and see that the focus shows."""
        for _ in range(_MAX_TABS):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("s => document.activeElement.matches(s)", selector):
                shows = "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
                assert self.page.evaluate(shows), f"{selector}: nothing shows the focus"
                return
        msg = f"{selector} is not reached by {_MAX_TABS} times Tab on {self.page.url}"
        raise AssertionError(msg)

    def follow(self, selector: str, *, to: str) -> None:
        """Open a link by keyboard."""
        self.tab_to(selector)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(to)

    def check(self) -> list[str]:
        """What is wrong with the page as it stands: width, words for those who cannot see it."""
        found: list[str] = self.page.evaluate(_CHECKS)
        return found

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            place = message.location.get("url", "")
            self.complaints.append(f"console, on {self.page.url}: {message.text} ({place})")

    def _ask(self, request: Request) -> None:
        if not request.url.startswith((f"{self.address}/", "data:", "blob:")):
            self.complaints.append(f"request to elsewhere: {request.url}")

    def _answer(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.append(f"answer {response.status}: {response.url}")
        if response.request.resource_type == "document":
            self.documents += 1
            policy = response.headers.get("content-security-policy", "")
            self.complaints += [f"{response.url}: {fault}" for fault in policy_faults(policy)]


def policy_faults(policy: str) -> list[str]:
    """What makes a content security policy less than strict."""
    rules = {words[0]: words[1:] for part in policy.split(";") if (words := part.split())}
    faults = [f"CSP lacks {name}" for name in ("base-uri", "form-action") if name not in rules]
    for name, wanted in (("default-src", "'self'"), ("object-src", "'none'")):
        if rules.get(name) != [wanted]:
            faults.append(f"CSP has {name} {rules.get(name)}")
    if rules.get("frame-ancestors") != ["'none'"]:
        faults.append("CSP lets others frame the page")
    allowed = {"'self'", "'none'", "data:", "blob:"}
    for name, sources in rules.items():
        if strange := set(sources) - (allowed if name == "img-src" else {"'self'", "'none'"}):
            faults.append(f"CSP allows {strange} as {name}")
    return faults


@contextmanager
def watched_page(address: str) -> Iterator[Watched]:
    """A page at desk size by day; nothing in it may have complained when it is closed."""
    path = find_chromium()
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=list(FLAGS)) as browser,
    ):
        context = browser.new_context(
            base_url=address, viewport={"width": 1280, "height": 800}, color_scheme="light"
        )
        context.add_init_script(_WATCH)
        watched = Watched(context.new_page(), address)
        yield watched
        assert watched.documents > 0
        assert watched.complaints == []
