"""Pictures of pages: for whoever looks after a failed run, and for the README."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

_LOAD = """() => {
  for (const image of document.images) image.loading = "eager";
  const drawn = [...document.images, ...document.querySelectorAll("svg image[href]")];
  return Promise.all(drawn.map((image) => image.decode()));
}"""
IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
MAX_BYTES = 300_000


def update_picture(page: Page, name: str) -> None:
    """Renew a picture of the documents, when that is asked for."""
    if os.environ.get("ASTRID_UPDATE_SCREENSHOTS") != "1":
        return
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = IMAGES / name
    load_pictures(page)
    page.screenshot(path=path)
    if path.stat().st_size > MAX_BYTES:
        with Image.open(path) as picture:
            # Noise compresses badly; 256 colours are what the eye sees of it.
            small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
    assert path.stat().st_size < MAX_BYTES, f"{name} is too heavy for a README"


def load_pictures(page: Page) -> None:
    """Wait until every picture of the page is there, also below the fold; fails if one is not."""
    page.evaluate(_LOAD)


def keep_picture(page: Page, path: Path) -> None:
    """Picture of the whole page, from its top to its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=True)
