"""A chart puts every epoch where its numbers say, and says them in words."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from catalog.algorithms.light_curve_chart import Epoch, Quantity, lay_out_chart, nice_ticks

EPOCHS = [
    Epoch("c", 60010.0, "r", 100.0, 5.0, 20.0, 0.05, 21.5),
    Epoch("a", 60000.0, "r", -3.0, 5.0, None, None, 21.0),
    Epoch("b", 60005.0, "g", 50.0, 5.0, 20.8, 0.11, 21.4, is_current=True),
    Epoch("d", 60020.0, "r"),
]


def test_brighter_is_higher_and_later_is_further_right() -> None:
    chart = lay_out_chart(EPOCHS, quantity="magnitude")
    assert chart is not None
    marks = {mark.key: mark for mark in chart.marks}
    assert [mark.key for mark in chart.marks] == ["a", "b", "c"]
    assert marks["a"].x < marks["b"].x < marks["c"].x
    assert marks["c"].y < marks["b"].y < marks["a"].y
    assert marks["b"].x == pytest.approx((marks["a"].x + marks["c"].x) / 2, abs=0.02)


def test_an_epoch_without_a_magnitude_is_an_upper_limit_without_an_error_bar() -> None:
    chart = lay_out_chart(EPOCHS, quantity="magnitude")
    assert chart is not None
    (limit,) = [mark for mark in chart.marks if mark.is_limit]
    assert (limit.key, limit.error_low, limit.error_high) == ("a", None, None)
    assert limit.text == "MJD 60000.0000, r band: fainter than 21.00 mag (5 sigma)"
    assert chart.has_limits


def test_negative_fluxes_are_drawn_below_the_zero_line() -> None:
    chart = lay_out_chart(EPOCHS, quantity="flux")
    assert chart is not None
    assert chart.zero is not None
    marks = {mark.key: mark for mark in chart.marks}
    assert marks["a"].y > chart.zero > marks["b"].y > marks["c"].y
    assert set(marks) == {"a", "b", "c"}
    assert marks["c"].error_high < marks["c"].y < marks["c"].error_low
    assert not chart.has_limits


def test_every_mark_and_tick_lies_in_the_chart() -> None:
    rng = np.random.default_rng(5)
    for size in ((880.0, 190.0), (370.0, 220.0)):
        epochs = [
            Epoch(str(i), 60000 + float(t), "r", float(f), 10.0)
            for i, (t, f) in enumerate(
                zip(rng.uniform(0, 900, 50), rng.normal(0, 1e5, 50), strict=True)
            )
        ]
        chart = lay_out_chart(epochs, quantity="flux", width=size[0], height=size[1])
        assert chart is not None
        assert all(chart.left <= m.x <= chart.right for m in chart.marks)
        assert all(chart.top <= m.error_high <= m.error_low <= chart.bottom for m in chart.marks)
        assert all(chart.left <= t.at <= chart.right for t in chart.x_ticks)
        assert all(chart.top <= t.at <= chart.bottom for t in chart.y_ticks)
        assert 2 <= len(chart.x_ticks) <= 12


def test_a_single_epoch_is_drawn_too() -> None:
    chart = lay_out_chart(EPOCHS[:1], quantity="magnitude")
    assert chart is not None
    assert math.isfinite(chart.marks[0].x)
    assert len(chart.x_ticks) >= 1


def test_bands_have_their_own_series_and_the_current_epoch_is_marked() -> None:
    chart = lay_out_chart(EPOCHS, quantity="magnitude")
    assert chart is not None
    assert chart.bands == ("g", "r")
    assert {mark.key: mark.series for mark in chart.marks} == {"a": 1, "b": 0, "c": 1}
    assert [mark.key for mark in chart.marks if mark.is_current] == ["b"]


def test_an_epoch_of_the_reference_is_a_line_at_its_time_without_a_value() -> None:
    reference = Epoch("ref", 59990.0, "r", is_reference=True)
    chart = lay_out_chart([*EPOCHS, reference], quantity="flux")
    assert chart is not None
    (line,) = chart.references
    assert chart.left <= line.x < min(mark.x for mark in chart.marks)
    assert line.text == (
        "MJD 59990.0000, r band: part of the reference, its difference is zero by construction"
    )
    assert "ref" not in {mark.key for mark in chart.marks}


@pytest.mark.parametrize("kind", ["difference", "total"])
def test_the_axis_says_which_of_the_two_fluxes_it_is(kind: Literal["difference", "total"]) -> None:
    labels = [
        chart.y_label
        for quantity in ("magnitude", "flux")
        if (chart := lay_out_chart(EPOCHS, quantity=quantity, kind=kind, unit="µJy"))
    ]
    assert labels == [f"{kind} magnitude (AB)", f"{kind} flux [µJy]"]


def test_a_flux_is_told_with_its_unit_and_no_finer_than_its_error() -> None:
    chart = lay_out_chart([Epoch("a", 60000.0, "r", 59.44, 140.0)], quantity="flux", unit="µJy")
    assert chart is not None
    assert chart.marks[0].text == "MJD 60000.0000, r band: flux 60 ± 140 µJy"


@pytest.mark.parametrize("quantity", ["magnitude", "flux"])
def test_two_surveys_have_two_symbols_that_are_named(quantity: Quantity) -> None:
    north, south = (replace(epoch, survey="North") for epoch in EPOCHS[:2]), EPOCHS[2:]
    epochs = [*north, *(replace(epoch, survey="South") for epoch in south)]
    chart = lay_out_chart(epochs, quantity=quantity)
    assert chart is not None
    assert [survey.name for survey in chart.surveys] == ["North", "South"]
    symbols = {survey.name: survey.symbol for survey in chart.surveys}
    marks = {mark.key: mark for mark in chart.marks}
    assert symbols["North"] != symbols["South"]
    assert marks["c"].symbol == symbols["North"]
    assert marks["b"].symbol == symbols["South"]
    # a limit is the symbol of its survey with an arrow
    assert marks["a"].symbol.startswith(symbols["North"])
    assert (marks["a"].symbol != symbols["North"]) == marks["a"].is_limit
    assert "North" in marks["a"].text
    assert "South" in marks["b"].text


def test_one_survey_needs_no_name() -> None:
    chart = lay_out_chart([replace(epoch, survey="North") for epoch in EPOCHS], quantity="flux")
    assert chart is not None
    assert chart.surveys == ()
    assert len({mark.symbol for mark in chart.marks}) == 1
    assert "North" not in chart.marks[0].text


def test_nothing_measured_gives_no_chart() -> None:
    assert lay_out_chart([], quantity="flux") is None
    assert lay_out_chart([EPOCHS[3]], quantity="magnitude") is None


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (19.96, 20.21, ["20.00", "20.05", "20.10", "20.15", "20.20"]),
        (-2.0, 2.0, ["\u22122", "\u22121", "0", "1", "2"]),
        (0.0, 4e6, ["0.0e+00", "1.0e+06", "2.0e+06", "3.0e+06", "4.0e+06"]),
    ],
)
def test_ticks_are_round_numbers_that_differ(low: float, high: float, labels: list[str]) -> None:
    assert [label for _, label in nice_ticks(low, high, count=5)] == labels
