"""A night to drive through: the product itself, a small sky, and a browser to look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import Watched, find_chromium, watched_page
from tests.e2e.product import Product, running_product, write_survey


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """AstrID as the launcher starts it, empty; its logs tell of no error when it ends."""
    find_chromium()
    with running_product(tmp_path / "data") as running:
        yield running
        assert running.complaints() == []


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    """Five exposures of a simulated field, and a web page that calls itself FITS."""
    fake = tmp_path / "saved-page.fits"
    fake.write_text("<!DOCTYPE html><html><title>403</title>Please log in first.</html>")
    return [*write_survey(tmp_path / "survey"), fake]


@pytest.fixture
def night(product: Product) -> Iterator[Watched]:
    """A browser page that saw nothing wrong from its first request to its last."""
    with watched_page(product.address) as page:
        yield page
