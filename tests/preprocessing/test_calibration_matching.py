"""Which masters fit which exposure."""

from __future__ import annotations

from typing import Any

import pytest

from observations.models import Survey
from preprocessing.models import CalibrationMaster
from preprocessing.selectors import Moment, camera_of, match_masters, match_observation
from tests.observations.factories import make_observation, make_survey
from tests.preprocessing.factories import make_camera, make_master

pytestmark = pytest.mark.django_db


@pytest.fixture
def survey() -> Survey:
    return make_survey()


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({}, set()),
        ({"band": "g"}, {"flat"}),
        ({"header": {"CCD-TEMP": -10.0}}, {"dark"}),
        ({"header": {}}, {"dark"}),
        ({"exposure_s": 300.0}, {"dark"}),
        ({"exposure_s": None}, {"dark"}),
        ({"day": 120.0}, {"bias", "dark", "flat"}),
        ({"observed_at": None}, {"bias", "dark", "flat"}),
        ({"header": {"CCD-TEMP": -20.0, "BUNIT": "nanomaggy"}}, {"bias", "dark", "flat"}),
        ({"header": {"CCD-TEMP": -20.0, "CALSTAT": "BD"}}, {"bias", "dark"}),
    ],
)
def test_masters_of_another_band_temperature_exposure_or_date_are_not_used(
    survey: Survey, change: dict[str, Any], missing: set[str]
) -> None:
    for kind in ("bias", "dark", "flat"):
        make_master(survey, kind)
    fields = {"instrument": "SIMCAM", "header": {"CCD-TEMP": -20.5}, "day": 2.0, **change}
    observation = make_observation(survey, **fields)
    camera = camera_of(observation)
    assert camera is not None
    found = match_observation(camera, observation)
    assert {"bias", "dark", "flat"} - set(found.masters) == missing
    assert not missing or found.notes


@pytest.mark.parametrize(
    "change",
    [
        {"instrument": "OTHER"},
        {"detector": "2"},
        {"image_width": 50},
        {"header": {"XBINNING": 2, "YBINNING": 2}},
        {"header": {"READOUTM": "fast"}},
        {"header": {"EGAIN": 0.25, "GAIN": 139}},
    ],
)
def test_a_camera_is_told_by_instrument_detector_size_binning_and_mode(
    survey: Survey, change: dict[str, Any]
) -> None:
    camera = make_camera(survey)
    assert camera_of(make_observation(survey, instrument="SIMCAM")) == camera
    assert camera_of(make_observation(survey, **{"instrument": "SIMCAM", **change})) is None
    assert camera_of(make_observation(make_survey(), instrument="SIMCAM")) is None


def test_a_dark_is_scaled_where_it_is_free_of_the_bias_and_never_by_much(survey: Survey) -> None:
    make_master(survey, "bias")
    dark = make_master(survey, "dark", exposure_s=60.0)
    camera, at = dark.camera, dark.observed_from
    scales = {
        t: match_masters(camera, Moment(at, t, -20.0)).dark_scale for t in (15.0, 60.5, 120.0)
    }
    assert scales == {15.0: 0.25, 60.5: 1.0, 120.0: 2.0}
    assert match_masters(camera, Moment(at, 121.0, -20.0)).dark is None
    CalibrationMaster.objects.filter(pk=dark.pk).update(includes_bias=True)
    assert match_masters(camera, Moment(at, 15.0, -20.0)).dark is None
    # a dark that holds the bias does the work of both
    alone = match_masters(camera, Moment(at, 60.0, -20.0))
    assert (alone.dark, alone.bias) == (dark, None)
    free = match_masters(camera, Moment(at, 60.0, -20.0), done=frozenset({"bias"}))
    assert free.dark is None


def test_a_flat_is_not_used_where_nothing_removes_the_bias(survey: Survey) -> None:
    flat = make_master(survey, "flat")
    moment = Moment(flat.observed_from, 60.0, -20.0, "r")
    found = match_masters(flat.camera, moment)
    assert found.masters == {}
    assert "nothing removes the bias" in found.notes[-1]
    done = match_masters(flat.camera, moment, done=frozenset({"bias"}))
    assert done.masters == {"flat": flat}


def test_the_nearest_is_used_and_one_that_was_switched_off_or_replaced_is_not(
    survey: Survey,
) -> None:
    rows = [make_master(survey, "bias", day=day) for day in (0.0, 20.0, 21.0)]
    moment = Moment(rows[1].observed_from)
    assert match_masters(rows[0].camera, moment).bias == rows[1]
    CalibrationMaster.objects.filter(pk=rows[1].pk).update(is_active=False)
    assert match_masters(rows[0].camera, moment).bias == rows[2]
    CalibrationMaster.objects.filter(pk=rows[2].pk).update(superseded_by=rows[0])
    assert match_masters(rows[0].camera, moment).bias == rows[0]
