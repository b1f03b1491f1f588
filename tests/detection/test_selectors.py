"""Reading candidates, their pixels and why they are here."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import FileKind
from detection.selectors import cutouts, detection_list, why_here
from preprocessing.services import put_array
from tests.catalog.factories import make_detection, make_detection_run

pytestmark = pytest.mark.django_db


def test_cutouts_are_the_candidate_s_own_row_with_its_missing_pixels() -> None:
    stack = np.random.default_rng(1).normal(size=(3, 4, 63, 63)).astype(np.float32)
    stack[1, 0, 0, 0] = np.nan
    run = make_detection_run(cutouts_file=put_array(stack, kind=FileKind.CUTOUTS, name="c.npy"))
    planes = cutouts(make_detection(run, index=1))
    assert np.array_equal(planes, stack[1], equal_nan=True)
    assert planes.dtype == np.float32


def test_pixels_that_are_not_kept_are_said_to_be_gone() -> None:
    with pytest.raises(ApplicationError, match="not kept"):
        cutouts(make_detection())


def test_the_narrowest_cut_comes_first_and_those_not_applied_last() -> None:
    cuts = [
        {"name": "a", "margin": 0.5},
        {"name": "b", "margin": None},
        {"name": "c", "margin": -0.2},
        {"name": "d", "margin": 0.0},
    ]
    rows = why_here(make_detection(cuts=cuts))
    assert [row["name"] for row in rows] == ["c", "d", "a", "b"]


def test_the_list_filters_by_what_was_measured() -> None:
    strong = make_detection(score=-20.0, real_bogus=0.9, scorer="m")
    cut = make_detection(score=6.0, is_kept=False)
    assert list(detection_list({"min_score": "10"})) == [strong]
    assert list(detection_list({"min_real_bogus": "0.5"})) == [strong]
    assert list(detection_list({"kept": "false"})) == [cut]
    assert list(detection_list({"observation": str(cut.observation_id)})) == [cut]
    assert detection_list({"kept": ""}).count() == 2
    with pytest.raises(ApplicationError, match="min_score"):
        detection_list({"min_score": "high"})
