"""What a second method says of a candidate: stored by the stage, shown on the page and by REST."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from astrid_site.env import read_choice
from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from detection.api import CandidateOutput
from detection.models import Detection
from detection.pages import why_rows
from detection.services.search import _ask_second, _opinion_metrics
from preprocessing.algorithms.stars import find_stars
from tests.catalog.factories import make_detection

SAID = {
    "method": "kernel/template",
    "score": -7.5,
    "flux_ratio": 0.98,
    "least_score": 4.0,
    "agrees": True,
}


@pytest.fixture(scope="module")
def inputs() -> Any:
    """One pair as the stage has it when the candidates are measured."""
    pair = simulate_pair(PairConfig(seed=6, shape=(256, 256), star_density_per_mpix=1200))
    science = pair.calibrated_science()
    return SimpleNamespace(
        run=SimpleNamespace(method="kernel/template"),
        science=science,
        template=pair.calibrated_reference(),
        stars=find_stars(science),
        truth=pair.truth[pair.truth["snr_difference"] > 10],
    )


def rows_of(inputs: Any) -> list[Detection]:
    real = [
        Detection(x=row["x"], y=row["y"], score=row["snr_difference"], flux=row["flux_adu"])
        for row in inputs.truth
    ]
    return [*real, Detection(x=128.0, y=31.0, score=-40.0, flux=-9000.0)]


def test_the_stage_stores_what_the_second_method_shows(inputs: Any, settings: Any) -> None:
    settings.SECOND_METHOD = "zogy"
    rows = rows_of(inputs)
    assert len(rows) >= 3
    opinion = _ask_second(inputs, rows, threshold=5.0)
    for row in rows:
        assert row.second_opinion is not None
        assert set(row.second_opinion) == set(SAID)
        assert row.second_opinion["method"] == "zogy"
    assert [row.second_opinion["agrees"] for row in rows if row.second_opinion] == [
        *[True] * (len(rows) - 1),
        False,
    ]
    ratios = [row.second_opinion["flux_ratio"] for row in rows[:-1] if row.second_opinion]
    assert np.median(ratios) == pytest.approx(1.0, abs=0.15)
    assert _opinion_metrics(opinion, rows) == {
        "second_method": "zogy",
        "second_problem": "",
        "n_agreeing": len(rows) - 1,
    }


def test_the_method_of_the_difference_is_no_second_and_that_is_told(
    inputs: Any, settings: Any
) -> None:
    settings.SECOND_METHOD = "kernel"
    rows = rows_of(inputs)
    opinion = _ask_second(inputs, rows, threshold=5.0)
    assert all(row.second_opinion is None for row in rows)
    told = _opinion_metrics(opinion, rows)
    assert told["second_problem"] == "the second method is the first"
    assert told["n_agreeing"] is None


def test_none_is_asked_by_default(settings: Any) -> None:
    assert settings.SECOND_METHOD == ""
    assert _opinion_metrics(None, []) == {}


@pytest.mark.django_db
def test_the_page_has_a_row_for_it_and_none_where_none_was_asked() -> None:
    alone = make_detection(cuts=[])
    assert why_rows(alone) == []
    row = why_rows(make_detection(score=-8.0, cuts=[], second_opinion=SAID))[-1]
    assert row.name == "significance by kernel, reference"
    assert (row.value, row.limit, row.relation) == (-7.5, -4.0, "≤")
    assert row.kept
    assert row.margin == pytest.approx(0.875)


@pytest.mark.django_db
def test_a_second_method_that_disagrees_or_sees_nothing_is_shown_as_that() -> None:
    against = make_detection(
        score=8.0, cuts=[], second_opinion=SAID | {"score": 1.0, "agrees": False}
    )
    row = why_rows(against)[-1]
    assert not row.kept
    assert row.margin == pytest.approx(-0.75)
    masked = make_detection(
        score=8.0,
        cuts=[],
        second_opinion=SAID | {"score": None, "agrees": None, "flux_ratio": None},
    )
    row = why_rows(masked)[-1]
    assert row.value is None
    assert row.margin is None


@pytest.mark.django_db
def test_rest_tells_it() -> None:
    assert CandidateOutput(make_detection(second_opinion=SAID)).data["second_opinion"] == SAID
    assert CandidateOutput(make_detection()).data["second_opinion"] is None


def test_a_setting_that_is_no_choice_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTRID_SECOND_METHOD", "magic")
    with pytest.raises(ImproperlyConfigured, match="must be one of kernel, zogy, got 'magic'"):
        read_choice("ASTRID_SECOND_METHOD", "", choices=("", "kernel", "zogy"))
