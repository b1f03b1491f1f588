"""From calibration frames that come in to exposures that are calibrated with their masters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.core.management import CommandError, call_command
from django.test import Client

from astrid_site.core import tasking
from astrid_site.core.errors import NotYetError
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from astrid_site.imaging.sky_calibration import (
    Detector,
    DetectorConfig,
    NightPlan,
    make_detector,
    read_out,
    write_calibration_frames,
)
from astrid_site.imaging.sky_files import HeaderValue, write_frame
from observations.models import Observation, Survey
from observations.services import ingest_file
from preprocessing.models import CalibrationFrame, CalibrationMaster, Camera, ScienceImage
from preprocessing.selectors import Moment, camera_of, match_masters, match_observation
from preprocessing.services import build_masters, load_image, load_raw
from preprocessing.services.calibrate import calibrate_observation
from tests.api.fixtures import browser_as, people
from tests.observations.factories import make_observation, make_survey
from tests.pipeline.drive import drain
from tests.preprocessing.factories import make_camera, make_master

__all__ = ["browser_as", "people"]
pytestmark = pytest.mark.django_db
CONFIG = DetectorConfig(shape=(128, 160), overscan=16, seed=5)
PLAN = NightPlan(n_bias=5, darks=((30.0, 4),), flats=(("r", 4.0, 20_000.0),) * 4)


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message leaves the test: the tests run the jobs themselves."""
    monkeypatch.setattr(tasking, "ring", lambda *args, **kwargs: None)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return make_detector(CONFIG)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, detector: Detector) -> list[Path]:
    """The calibration frames of one night, as files."""
    return write_calibration_frames(tmp_path_factory.mktemp("night"), detector, PLAN)


@pytest.fixture
def survey() -> Survey:
    return make_survey("Calibrated survey")


def take(paths: list[Path], survey: Survey) -> list[Any]:
    return [ingest_file(path, survey=survey, file_name=path.name) for path in paths]


def expose(
    folder: Path, detector: Detector, *, name: str = "sky", **cards: HeaderValue
) -> tuple[Path, Any]:
    """A science exposure of flat sky with one star, and the light that fell on the detector."""
    ny, nx = detector.config.shape
    y, x = np.mgrid[0:ny, 0:nx]
    light = 3000.0 + 40_000.0 * np.exp(-((x - 70.0) ** 2 + (y - 60.0) ** 2) / 8.0)
    header: dict[str, HeaderValue] = {
        "IMAGETYP": "Light Frame",
        "FILTER": "r",
        "DATE-OBS": "2026-03-03T02:00:00",
        "OBSID": name,
        **{key.replace("_", "-"): value for key, value in cards.items()},
    }
    frame = read_out(detector, light, exposure_s=30.0, rng=np.random.default_rng(8), cards=header)
    write_frame(folder / f"{name}.fits", frame.data, frame.header)
    return folder / f"{name}.fits", light


def one(survey: Survey) -> Observation:
    return Observation.objects.get(survey=survey)


def test_calibration_frames_become_masters_and_never_observations(
    night: list[Path], survey: Survey
) -> None:
    results = take(night, survey)
    assert {r.outcome for r in results} == {"created"}
    assert {r.code for r in results} == {"calibration_frame"}
    assert not Observation.objects.exists()
    assert CalibrationFrame.objects.count() == len(night)
    # one camera, one job for it however many frames came
    assert Job.objects.get().subject_id == Camera.objects.get().pk
    drain()
    masters = CalibrationMaster.objects.order_by("kind")
    assert [(m.kind, m.n_frames, m.band, m.exposure_s) for m in masters] == [
        ("bias", 5, "", None),
        ("dark", 4, "", 30.0),
        ("flat", 4, "r", None),
    ]
    assert {m.verdict for m in masters} == {"first"}
    assert Job.objects.get().state == JobState.DONE


def test_the_same_frames_again_change_nothing(night: list[Path], survey: Survey) -> None:
    take(night, survey)
    drain()
    before = set(CalibrationMaster.objects.values_list("pk", flat=True))
    assert {r.outcome for r in take(night, survey)} == {"duplicate"}
    assert {r.outcome for r in build_masters(Camera.objects.get())} == {"known"}
    assert set(CalibrationMaster.objects.values_list("pk", flat=True)) == before


def test_a_night_that_comes_in_two_halves_ends_as_one_master(
    night: list[Path], survey: Survey
) -> None:
    biases = [path for path in night if path.name.startswith("bias")]
    take(biases[:3], survey)
    drain()
    half = CalibrationMaster.objects.get()
    take(biases[3:], survey)
    drain()
    half.refresh_from_db()
    assert half.superseded_by is not None
    assert half.superseded_by.n_frames == 5
    assert CalibrationMaster.objects.filter(superseded_by=None).count() == 1


def test_two_frames_are_no_master_and_the_camera_says_so(night: list[Path], survey: Survey) -> None:
    take(night[:2], survey)
    drain()
    assert not CalibrationMaster.objects.exists()
    assert Camera.objects.get().warnings == [
        "2 bias frames: 3 of one night are needed for a master"
    ]


def test_a_master_that_somebody_else_made_is_refused(
    tmp_path: Path, detector: Detector, survey: Survey
) -> None:
    path, _ = expose(tmp_path, detector, IMAGETYP="Master Dark")
    result = ingest_file(path, survey=survey, file_name=path.name)
    assert (result.outcome, result.code) == ("refused", "calibration_master")


def test_an_exposure_is_calibrated_with_the_masters_of_its_camera(
    tmp_path: Path, night: list[Path], detector: Detector, survey: Survey
) -> None:
    take(night, survey)
    drain()
    path, light = expose(tmp_path, detector)
    take([path], survey)
    observation = one(survey)
    raw, _ = load_raw(observation)
    found = calibrate_observation(observation, raw)
    assert found.metrics["calibration"] == "overscan, trim, bias, dark, flat"
    assert found.metrics["gain_check"] == "pass"
    good = found.image.mask == 0
    unit = np.median(detector.response[~detector.bad])
    truth = light * unit / CONFIG.gain
    assert found.image.variance is not None
    pulls = ((found.image.data - truth) / np.sqrt(found.image.variance))[good]
    # 2e4 pixels, masters of 4 frames: the width is known to 1 %
    assert np.std(pulls[np.abs(pulls) < 6]) == pytest.approx(1.0, abs=0.05)
    assert ((found.image.mask != 0) & detector.bad).sum() >= 0.99 * detector.bad.sum()


def test_the_run_says_which_masters_were_used(
    tmp_path: Path, night: list[Path], detector: Detector, survey: Survey
) -> None:
    take([*night, expose(tmp_path, detector)[0]], survey)
    drain()
    science = ScienceImage.objects.get()
    assert science.bias_master is not None
    assert science.dark_master is not None
    assert science.flat_master is not None
    assert science.inputs["master_flat"] == science.flat_master.file.sha256
    assert science.metrics["calibration"] == "overscan, trim, bias, dark, flat"
    assert science.file is not None
    assert load_image(science.file).shape == CONFIG.shape
    assert f"flat: {science.flat_master}" in science.log


def test_an_exposure_waits_while_the_masters_of_its_camera_are_being_built(
    tmp_path: Path, night: list[Path], detector: Detector, survey: Survey
) -> None:
    take([*night, expose(tmp_path, detector)[0]], survey)
    observation = one(survey)
    with pytest.raises(NotYetError, match="waits for the masters"):
        calibrate_observation(observation, load_raw(observation)[0])


def test_an_exposure_that_came_before_its_masters_is_calibrated_when_they_come(
    tmp_path: Path, night: list[Path], detector: Detector, survey: Survey
) -> None:
    take([expose(tmp_path, detector)[0]], survey)
    drain()
    assert ScienceImage.objects.get().metrics["calibration"] == "none"
    take(night, survey)
    drain()
    science = ScienceImage.objects.get()
    assert science.metrics["calibration"] == "overscan, trim, bias, dark, flat"
    assert science.flat_master == CalibrationMaster.objects.get(kind="flat")


def test_masters_that_come_one_kind_after_the_other_are_all_used_in_the_end(
    tmp_path: Path, night: list[Path], detector: Detector, survey: Survey
) -> None:
    take([expose(tmp_path, detector)[0]], survey)
    steps = []
    for kind in ("bias", "dark", "flat"):
        take([path for path in night if path.name.startswith(kind)], survey)
        drain()
        steps.append(ScienceImage.objects.get().metrics["calibration"])
    assert steps == [
        "overscan, trim, bias",
        "overscan, trim, bias, dark",
        "overscan, trim, bias, dark, flat",
    ]


def test_an_exposure_that_results_rest_on_stays_as_it_is_and_is_told(
    tmp_path: Path, night: list[Path], detector: Detector, survey: Survey
) -> None:
    take([expose(tmp_path, detector)[0]], survey)
    drain()
    Observation.objects.update(status="succeeded")
    take(night, survey)
    drain()
    assert ScienceImage.objects.get().metrics["calibration"] == "none"
    assert Camera.objects.get().warnings == [
        "1 exposures were worked through before their masters came, and stay as they are"
    ]


def test_an_exposure_without_masters_goes_on_as_it_is(
    tmp_path: Path, detector: Detector, survey: Survey
) -> None:
    take([expose(tmp_path, detector)[0]], survey)
    observation = one(survey)
    raw, _ = load_raw(observation)
    found = calibrate_observation(observation, raw)
    assert found.image is raw
    assert found.metrics["calibration"] == "none"
    assert found.inputs == {}
    assert found.notes[0] == "no calibration frames of its camera"


def test_a_frame_that_is_calibrated_already_is_not_calibrated_twice(
    tmp_path: Path, night: list[Path], detector: Detector, survey: Survey
) -> None:
    take(night, survey)
    drain()
    take([expose(tmp_path, detector, CALSTAT="BDF")[0]], survey)
    observation = one(survey)
    raw, _ = load_raw(observation)
    found = calibrate_observation(observation, raw)
    assert np.array_equal(found.image.data, raw.data)
    assert found.masters == {}
    assert "flat: done already, as the header says" in found.notes


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
    ],
)
def test_a_camera_is_told_by_instrument_detector_size_and_binning(
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


def test_the_next_night_is_compared_with_the_last(
    tmp_path: Path, night: list[Path], detector: Detector, survey: Survey
) -> None:
    plan = NightPlan(mjd=61120.0, n_bias=5, darks=(), flats=())
    later = write_calibration_frames(tmp_path / "later", detector, plan)
    take([*night[:5], *later], survey)
    drain()
    first, second = CalibrationMaster.objects.filter(kind="bias").order_by("observed_from")
    assert (second.previous, second.verdict) == (first, "pass")
    assert second.numbers["width"] == pytest.approx(1.0, abs=0.2)


def test_a_wrong_gain_is_noticed_and_the_measured_one_used_only_when_asked(
    tmp_path: Path, detector: Detector, survey: Survey
) -> None:
    paths = write_calibration_frames(tmp_path / "night", detector, PLAN)
    for path in paths:
        fits.setval(path, "GAIN", value=2 * CONFIG.gain)
    take([*paths, expose(tmp_path, detector, GAIN=2 * CONFIG.gain)[0]], survey)
    drain()
    camera = Camera.objects.get()
    # 2e4 pixels and two pairs of flats fix the gain to 1 %
    assert camera.gain == pytest.approx(CONFIG.gain, rel=0.04)
    assert camera.stated_gain == 2 * CONFIG.gain
    assert any(text.startswith("the gain is stated as 3.4") for text in camera.warnings)
    observation = one(survey)
    raw, _ = load_raw(observation)
    found = calibrate_observation(observation, raw)
    assert found.image.gain == 2 * CONFIG.gain
    assert found.metrics["gain_check"] == "suspect"
    assert found.metrics["quality_flags"] == ["gain_suspect"]
    Camera.objects.update(use_measured=True)
    found = calibrate_observation(observation, raw)
    assert found.image.gain == pytest.approx(CONFIG.gain, rel=0.04)
    assert found.metrics["gain_check"] == "pass"


def test_the_command_builds_reports_and_can_only_look(
    night: list[Path], survey: Survey, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="no calibration frames"):
        call_command("build_masters")
    take(night, survey)
    call_command("build_masters", "--dry-run")
    assert "would be built" in capsys.readouterr().out
    assert not CalibrationMaster.objects.exists()
    call_command("build_masters", "--survey", "calibrated survey")
    told = capsys.readouterr().out
    assert told.count("built") == 3
    assert "gain 1.7" in told
    assert CalibrationMaster.objects.count() == 3


@pytest.fixture
def page_of(browser_as: Callable[[str], Client]) -> Callable[[str], str]:
    client = browser_as("viewer")

    def read(address: str) -> str:
        answer = client.get(address)
        assert answer.status_code == 200
        return str(answer.content.decode())

    return read


def test_the_page_tells_how_to_begin_while_there_is_nothing(page_of: Callable[[str], str]) -> None:
    assert "No calibration frames yet" in page_of("/calibration/")


def test_the_pages_show_masters_their_pictures_and_what_they_were_used_for(
    tmp_path: Path,
    night: list[Path],
    detector: Detector,
    survey: Survey,
    browser_as: Callable[[str], Client],
) -> None:
    take([*night, expose(tmp_path, detector)[0]], survey)
    drain()
    client = browser_as("viewer")
    text = client.get("/calibration/").content.decode()
    for master in CalibrationMaster.objects.all():
        assert f"/calibration/masters/{master.pk}/" in text
        page = client.get(f"/calibration/masters/{master.pk}/").content.decode()
        assert "/observations/" in page.split("Observations calibrated with it")[1]
        picture = client.get(f"/calibration/masters/{master.pk}/picture.png")
        assert picture.content.startswith(b"\x89PNG")
    assert "e⁻/adu measured" in text
    assert client.get("/observations/").content.decode().count("/calibration/") == 1


def test_the_api_lists_cameras_and_masters(
    night: list[Path], survey: Survey, browser_as: Callable[[str], Client]
) -> None:
    take(night, survey)
    drain()
    client = browser_as("viewer")
    cameras = client.get("/api/v1/cameras/").json()["results"]
    assert [camera["survey"] for camera in cameras] == [survey.name]
    flats = client.get("/api/v1/masters/", {"kind": "flat", "current": "true"}).json()["results"]
    assert [(row["band"], row["n_frames"]) for row in flats] == [("r", 4)]
    one_master = client.get(f"/api/v1/masters/{flats[0]['id']}/").json()
    assert one_master["sha256"] == CalibrationMaster.objects.get(kind="flat").file.sha256
    assert client.get("/api/v1/masters/", {"kind": "arc"}).status_code == 400
