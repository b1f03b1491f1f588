"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real images (setting ``ASTRID_TEST_DATA``); absent only outside CI."""
    folder = os.environ.get("ASTRID_TEST_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = "ASTRID_TEST_DATA names no folder of real images"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
