"""Sources that were lost at known stages, once for all tests of a module."""

from __future__ import annotations

import pytest

from benchmarks.learning.missed_sources import Miss, make_misses
from detection.models import ScoringModel
from tests.pipeline.conftest import module_database, nobody_listens
from tests.web.conftest import client_of

__all__ = ["client_of", "misses", "module_database", "nobody_listens"]


@pytest.fixture(scope="module")
def misses(module_database: None) -> list[Miss]:
    """Some forty sources, each lost at a stage that is known."""
    # their scores are planted: no network has to be loaded
    ScoringModel.objects.update(role=ScoringModel.Role.RETIRED)
    return make_misses(0.35, seed=3)
