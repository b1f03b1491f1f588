"""What headers say a frame is for, how it was read out, and what was done to it already."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observations.algorithms.frame_kinds import frame_kind, read_readout


@pytest.mark.parametrize(
    ("card", "value", "kind"),
    [
        ("IMAGETYP", "Bias Frame", "bias"),
        ("IMAGETYP", "zero", "bias"),
        ("OBSTYPE", "BIAS", "bias"),
        ("FRAME", "Bias", "bias"),
        ("IMAGETYP", "Dark Frame", "dark"),
        ("OBSTYPE", "DARK", "dark"),
        ("IMAGETYP", "Flat Field", "flat"),
        ("IMAGETYP", "FLAT", "flat"),
        ("OBSTYPE", "dome flat", "flat"),
        ("OBSTYPE", "SKYFLAT", "flat"),
        ("OBSTYPE", "dflat", "flat"),
        ("IMAGETYP", "twilight_flat", "flat"),
        ("IMAGETYP", "Master Dark", "master"),
        ("IMAGETYP", "masterflat", "master"),
        ("IMAGETYP", "Light Frame", "science"),
        ("IMAGETYP", "object", "science"),
        ("OBSTYPE", "EXPOSE", "science"),
        ("OBSTYPE", "dark sky survey", "science"),
        ("IMAGETYP", "flatland nebula", "science"),
        ("IMAGETYP", 7, "science"),
        ("OBJECT", "bias", "science"),
    ],
)
def test_what_a_frame_is_for(card: str, value: Any, kind: str) -> None:
    assert frame_kind({card: value}) == kind


CARDS = ("IMAGETYP", "OBSTYPE", "CALSTAT", "CCD-TEMP", "XBINNING", "CCDSUM", "BIASSEC", "BUNIT",
         "FLATCOR", "RLEVEL")  # fmt: skip
VALUES = st.one_of(st.text(max_size=30), st.integers(), st.floats(), st.booleans())


@given(st.dictionaries(st.sampled_from(CARDS), VALUES))
def test_no_header_breaks_the_reading(header: dict[str, Any]) -> None:
    assert frame_kind(header) in {"science", "bias", "dark", "flat", "master"}
    found = read_readout(header)
    assert found.temperature_c is None or -274.0 < found.temperature_c < 100.0
    assert len(found.binning) <= 5
    assert found.done <= {"overscan", "bias", "dark", "flat"}


@pytest.mark.parametrize(
    ("header", "binning"),
    [
        ({}, "1x1"),
        ({"XBINNING": 2, "YBINNING": 2}, "2x2"),
        ({"XBINNING": 2.0}, "2x2"),
        ({"CCDXBIN": 1, "CCDYBIN": 4}, "1x4"),
        ({"CCDSUM": "2 2"}, "2x2"),
        ({"BINNING": "3x3"}, "3x3"),
        ({"BINNING": "2 x 4"}, "2x4"),
        ({"XBINNING": float("nan"), "CCDSUM": "9999 9999"}, "1x1"),
        ({"XBINNING": "two", "CCDSUM": "none"}, "1x1"),
    ],
)
def test_the_binning(header: dict[str, Any], binning: str) -> None:
    assert read_readout(header).binning == binning


@pytest.mark.parametrize(
    ("header", "temperature"),
    [
        ({"CCD-TEMP": -19.9}, -19.9),
        ({"CCDTEMP": 180.15}, -93.0),
        ({"CCD-TEMP": "cold", "DET-TEMP": -80}, -80.0),
        ({"CCD-TEMP": True}, None),
        ({"CCD-TEMP": -999.0}, None),
        ({}, None),
    ],
)
def test_the_temperature_in_celsius(header: dict[str, Any], temperature: float | None) -> None:
    found = read_readout(header).temperature_c
    assert found == (temperature if temperature is None else pytest.approx(temperature))


@pytest.mark.parametrize(
    ("header", "done"),
    [
        ({}, set()),
        ({"CALSTAT": "BDF"}, {"overscan", "bias", "dark", "flat"}),
        ({"CALSTAT": "D"}, {"dark"}),
        ({"ZEROCOR": "Jan 3 12:03 Zero level correction"}, {"overscan", "bias"}),
        ({"FLATCOR": True}, {"overscan", "flat"}),
        ({"BIASCORR": "COMPLETE", "FLATCORR": "OMIT", "DARKCORR": "PERFORM"}, {"overscan", "bias"}),
        ({"FLATCOR": False, "DARKCOR": "F"}, set()),
        ({"PROCTYPE": "InstCal"}, {"overscan", "bias", "dark", "flat"}),
        ({"PROCTYPE": "raw"}, set()),
        ({"RLEVEL": 91}, {"overscan", "bias", "dark", "flat"}),
        ({"RLEVEL": 0}, set()),
    ],
)
def test_what_was_done_already(header: dict[str, Any], done: set[str]) -> None:
    assert read_readout(header).done == done


@pytest.mark.parametrize(
    ("header", "mode"),
    [
        ({"GAIN": 1.7}, ""),
        ({"GAIN": 139, "EGAIN": 0.25}, "GAIN 139"),
        ({"READOUTM": "High Gain", "OFFSET": 50}, "READOUTM High Gain, OFFSET 50"),
        ({"READOUTM": "  "}, ""),
    ],
)
def test_what_else_must_agree_for_two_frames_to_share_a_bias(
    header: dict[str, Any], mode: str
) -> None:
    assert read_readout(header).mode == mode


def test_sections_and_units() -> None:
    found = read_readout({"BIASSEC": "[   4:  13,   1: 520]", "DATASEC": "[17:528,1:520]"})
    assert (found.overscan, found.image) == ("[   4:  13,   1: 520]", "[17:528,1:520]")
    assert read_readout({"BUNIT": "ADU"}).is_counts
    assert read_readout({}).is_counts
    assert not read_readout({"BUNIT": "MJy/sr"}).is_counts
