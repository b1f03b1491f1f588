"""The checks of pages notice what they are for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import sync_playwright

from tests.e2e.browser import FLAGS, Watched, find_chromium, policy_faults

pytestmark = pytest.mark.e2e

SOUND = (
    '<html lang="en"><head><title>t</title></head><body><header>AstrID</header>'
    "<main><h1>Page</h1>{}</main></body></html>"
)
FAULTS = {
    '<div style="width: 3000px">wide</div>': "too wide",
    '<p style="width: 2em">incomprehensibilities</p>': "text runs",
    '<div style="width: 9em; overflow: auto"><table class="cards" style="width: 20em"><tr><td>a'
    "</table></div>": "cut off",
    "<h1>Second</h1>": "2 times h1",
    "<h4>Jump</h4>": "h1 is followed by",
    '<input name="a">': "no label",
    "<progress></progress>": "no label",
    '<a href="/"></a>': "no name",
    "<button></button>": "no name",
    '<img src="data:,">': "no alt",
    '<svg width="9" height="9"></svg>': "no words",
    "<nav>a</nav>": "unnamed landmark",
    "<table><tr><th>a</th></tr></table>": "no scope",
    '<p tabindex="2">a</p>': "order of Tab",
    '<p id="a">a</p><p id="a">b</p>': "called a",
    '<p style="color: #999">faint</p>': "contrast 2.8",
    '<div style="background: #222"><p style="color: #555">dim</p></div>': "contrast 2.",
}


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    path = find_chromium()
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=list(FLAGS)) as browser,
    ):
        yield Watched(browser.new_page(), "about:blank")


def test_a_sound_page_has_no_faults(watched: Watched) -> None:
    watched.page.set_content(SOUND.format('<label>Name <input name="a"></label>'))
    assert watched.check() == []


@pytest.mark.parametrize(("html", "word"), FAULTS.items())
def test_each_fault_of_a_page_is_found(watched: Watched, html: str, word: str) -> None:
    watched.page.set_content(SOUND.format(html))
    assert any(word in fault for fault in watched.check()), watched.check()


def test_a_page_without_language_title_and_landmarks_is_found(watched: Watched) -> None:
    watched.page.set_content("<p>bare</p>")
    assert {"no language", "no title", "0 times h1", "0 times main"} <= set(watched.check())


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "default-src *; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'",
        "default-src 'self'; script-src 'self' 'unsafe-inline'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        "default-src 'self'; style-src https://elsewhere.example; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ],
)
def test_a_lax_policy_is_found(policy: str) -> None:
    assert policy_faults(policy)
