"""What the difference stage decides and says: the method, the order of the epochs, a failure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from differencing.algorithms.retry import subtract_in_turn
from differencing.pages import plain_words
from differencing.services.difference import _config, _subtract, _with_order_of_epochs
from preprocessing.algorithms.stars import find_stars
from tests.differencing.algorithms.test_retry import Maker, made

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
GOOD = made("kernel/template", "pass")


def survey(method: str) -> Any:
    return SimpleNamespace(observation=SimpleNamespace(survey=SimpleNamespace(method=method)))


@pytest.mark.parametrize("method", ["auto", "kernel", "zogy", "alard_lupton"])
def test_a_survey_may_name_its_method(method: str) -> None:
    assert _config(survey(method)).method == method


def test_a_method_that_does_not_exist_is_told() -> None:
    with pytest.raises(AlgorithmError, match="'magic' is none of auto, kernel, zogy, alard_lupton"):
        _config(survey("magic"))


@pytest.mark.parametrize(("hours", "is_said"), [(-1, False), (0, False), (1, True)])
def test_a_reference_that_ends_after_the_frame_began_is_told(hours: int, is_said: bool) -> None:
    run: Any = SimpleNamespace(observation=SimpleNamespace(observed_at=NOON))
    reference: Any = SimpleNamespace(last_ended_at=NOON + timedelta(hours=hours))
    said = _with_order_of_epochs(run, reference, GOOD).method_reason
    assert said.startswith(GOOD.method_reason)
    assert ("what faded since shows as brightening" in said) == is_said


@pytest.mark.parametrize("unknown", ["frame", "reference"])
def test_unknown_dates_are_in_no_order(unknown: str) -> None:
    run: Any = SimpleNamespace(
        observation=SimpleNamespace(observed_at=None if unknown == "frame" else NOON)
    )
    reference: Any = SimpleNamespace(last_ended_at=None if unknown == "reference" else NOON)
    assert _with_order_of_epochs(run, reference, GOOD) is GOOD


def test_a_difference_that_fails_by_every_method_ends_the_run_with_every_reason() -> None:
    pair = simulate_pair(PairConfig(seed=2, shape=(384, 384), star_density_per_mpix=1200))
    science, template = pair.calibrated_science(), pair.calibrated_reference()
    other = template.with_(data=template.data[::-1].copy())
    with pytest.raises(AlgorithmError) as caught:
        _subtract(other, science, find_stars(science), config=_config_of("auto"))
    said = caught.value.message
    assert said.startswith("the difference (")
    assert "stars_left" in said
    assert "tried" in said
    assert caught.value.numbers["m_n_tries"] == 3


def _config_of(method: str) -> Any:
    return replace(_config(survey(method)), threads=1)


def test_the_reasons_of_a_retry_are_put_plainly() -> None:
    poor = made("kernel/template", "fail", 30.0)
    poor = replace(poor, quality_reasons=("chi2_stars_median 30 is outside 0 to 2.5",))
    best = subtract_in_turn(Maker(kernel=poor, zogy=made("zogy", "pass")))
    assert plain_words(best.method_reason) == (
        "zogy as ever; tried before: kernel/template (residuals at most bright stars are larger "
        "than expected (30, limit 2.5))"
    )
