"""Positions, numbers and dates as people read them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid_site.core.templatetags import astro
from catalog.forms import read_angle


@pytest.mark.parametrize(
    ("ra", "text"),
    [(0.0, "00:00:00.00"), (150.1166, "10:00:27.98"), (359.9999999, "23:59:59.99"), (None, "–")],
)
def test_right_ascension_is_truncated_to_hours(ra: float | None, text: str) -> None:
    assert astro.ra_hms(ra) == text


@pytest.mark.parametrize(
    ("dec", "text"),
    [
        (-0.5, "-00:30:00.0"),
        (89.99999, "+89:59:59.9"),
        (-47.5, "-47:30:00.0"),
        (2.2, "+02:12:00.0"),
    ],
)
def test_declination_keeps_its_sign_below_one_degree(dec: float, text: str) -> None:
    assert astro.dec_dms(dec) == text


@given(st.floats(0, 359.999999), st.floats(-90, 90))
def test_what_is_shown_can_be_typed_into_the_cone_search(ra: float, dec: float) -> None:
    # truncated to 0.01 s of time and 0.1 arcsec
    assert read_angle(astro.ra_hms(ra), is_hours=True) == pytest.approx(ra, abs=15 * 0.0101 / 3600)
    assert read_angle(astro.dec_dms(dec), is_hours=False) == pytest.approx(dec, abs=0.101 / 3600)


@pytest.mark.parametrize(
    ("text", "is_hours", "degrees"),
    [
        ("150.5", True, 150.5),
        ("10h00m28.0s", True, 150.1166667),
        ("10 00 28", True, 150.1166667),
        ("-00:30", False, -0.5),
        ("\u221247d30m00s", False, -47.5),
        ("+02°12′00″", False, 2.2),
    ],
)
def test_angles_are_read_in_the_notations_of_the_field(
    text: str, is_hours: bool, degrees: float
) -> None:
    assert read_angle(text, is_hours=is_hours) == pytest.approx(degrees, abs=1e-6)


def test_missing_and_infinite_numbers_are_a_dash() -> None:
    for value in (None, math.nan, math.inf):
        assert astro.number(value) == "–"
        assert astro.signed(value) == "–"
        assert astro.significant(value) == "–"


def test_numbers_carry_a_true_minus_and_their_unit() -> None:
    assert astro.number(-1234.5, 1) == "\u22121,234.5"
    assert astro.signed(7.25) == "+7.2"
    assert astro.significant(0.000123456) == "0.000123"
    assert astro.significant(243.7, 2) == "240"
    assert astro.significant(-39871.2, 4) == "\u221239,870"
    assert astro.significant(2.5e9) == "2.50e+09"
    assert astro.significant(0.0) == "0.00"
    assert astro.magnitude(19.523, 0.041) == "19.52 ± 0.04 mag"
    assert astro.magnitude(19.523) == "19.52 mag"
    assert astro.percent(0.404) == "40 %"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.2 s"), (61, "1 min 1 s"), (7300, "2 h 1 min"), (None, "–")]
)
def test_durations_are_in_the_unit_a_person_would_choose(seconds: float | None, text: str) -> None:
    assert astro.duration(seconds) == text


def test_a_score_never_claims_to_be_certain() -> None:
    shown = [astro.probability(value) for value in (0.0, 0.5, 0.9999, 1.0, None)]
    assert shown == ["< 0.01", "0.50", "> 0.99", "> 0.99", "–"]


def test_moments_are_shown_in_utc() -> None:
    local = datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert astro.utc(local) == "2026-02-28 23:00:00"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (59.44, 140.0, "60 ± 140"),
        (-3.2, 140.0, "0 ± 140"),
        (12345.678, 3.21, "12,345.7 ± 3.2"),
        (-0.0512, 0.0996, "\u22120.05 ± 0.10"),
        (1.2e9, 3e6, "(1.2000 ± 0.0030)e+09"),
        (None, 3.0, "–"),
        (1.0, None, "–"),
    ],
)
def test_a_value_has_no_digit_beyond_its_error(
    value: float | None, error: float | None, text: str
) -> None:
    assert astro.plus_minus(value, error) == text


def test_a_candidates_flux_has_a_unit_with_and_without_a_magnitude() -> None:
    # 23.9 mag is one microjansky: the unit follows from the magnitude, the sign from the flux
    assert astro.candidate_flux(-500.0, 50.0, 23.9) == "\u22121.00 ± 0.10 µJy"
    assert astro.candidate_flux(-500.0, 50.0, None) == "\u2212500 ± 50 image units"
