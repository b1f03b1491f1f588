"""From calibration frames that come in to exposures that are calibrated with their masters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.core.management import CommandError, call_command

from astrid_site.core.errors import NotYetError
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from astrid_site.imaging.sky_calibration import (
    Detector,
    DetectorConfig,
    NightPlan,
    make_detector,
    write_calibration_frames,
)
from observations.models import Observation, Survey
from observations.services import ingest_file
from preprocessing.models import CalibrationFrame, CalibrationMaster, Camera, ScienceImage
from preprocessing.services import build_masters, load_image, load_raw
from preprocessing.services.calibrate import calibrate_observation
from tests.pipeline.drive import drain
from tests.preprocessing.calibration_night import (
    CONFIG,
    PLAN,
    detector,
    expose,
    night,
    nobody_listens,
    one,
    survey,
    take,
)

__all__ = ["detector", "night", "nobody_listens", "survey"]
pytestmark = pytest.mark.django_db


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
    with pytest.raises(CommandError, match="there is no survey 'nosuch'") as refused:
        call_command("build_masters", "--survey", "nosuch")
    assert refused.value.returncode == 2
    take(night, survey)
    call_command("build_masters", "--dry-run")
    assert "would be built" in capsys.readouterr().out
    assert not CalibrationMaster.objects.exists()
    call_command("build_masters", "--survey", "calibrated survey")
    told = capsys.readouterr().out
    assert told.count("built") == 3
    assert "gain 1.7" in told
    assert CalibrationMaster.objects.count() == 3


def test_a_frame_whose_bias_was_removed_without_a_word_is_not_calibrated_twice(
    tmp_path: Path, survey: Survey
) -> None:
    bare = make_detector(DetectorConfig(shape=(96, 128), overscan=0, seed=6))
    plan = NightPlan(n_bias=3, darks=(), flats=())
    take(write_calibration_frames(tmp_path / "night", bare, plan), survey)
    drain()
    path, _ = expose(tmp_path, bare)
    with fits.open(path) as hdus:
        header, data = hdus[0].header, hdus[0].data.astype(np.float32)
    for card in ("BZERO", "BSCALE", "BLANK"):
        header.remove(card, ignore_missing=True)
    # free of its bias of 1000 adu, under a sky of 260 adu
    fits.PrimaryHDU(data - 1000.0 - 1500.0, header).writeto(path, overwrite=True)
    take([path], survey)
    observation = one(survey)
    raw, _ = load_raw(observation)
    found = calibrate_observation(observation, raw)
    assert found.image is raw
    assert "calibration_refused" in found.metrics["quality_flags"]
    assert any("bias seems to be removed already" in note for note in found.notes)


def odd_frame(path: Path, data: Any, **cards: Any) -> Path:
    """A calibration frame with any pixels."""
    hdu = fits.PrimaryHDU(np.asarray(data, dtype=np.float32))
    header = {
        "DATE-OBS": "2026-03-01T20:00:00",
        "EXPTIME": 5.0,
        "INSTRUME": "ODD",
        "OBSID": path.stem,
    }
    for key, value in (header | cards).items():
        hdu.header[key] = value
    hdu.writeto(path)
    return path


def test_odd_frames_end_with_a_reason_never_with_a_crash(tmp_path: Path, survey: Survey) -> None:
    rng = np.random.default_rng(1)
    paths = []
    for n in range(3):
        constant, dark = np.full((64, 64), 300.0 + n), np.full((64, 64), 305.0)
        dark[n, n] = np.nan
        flat = np.full((64, 64), 65000.0) if n else rng.normal(9000.0, 70.0, (64, 64))
        paths += [
            odd_frame(tmp_path / f"b{n}.fits", constant, IMAGETYP="bias"),
            odd_frame(tmp_path / f"d{n}.fits", dark, IMAGETYP="dark"),
            odd_frame(tmp_path / f"f{n}.fits", flat, IMAGETYP="flat", SATURATE=60000.0),
            odd_frame(
                tmp_path / f"g{n}.fits", np.full((64, 64), 301.0), IMAGETYP="flat", FILTER="g"
            ),
        ]
    odd = odd_frame(
        tmp_path / "u.fits", rng.normal(300.0, 3.0, (64, 64)), IMAGETYP="dark", EXPTIME=0.0
    )
    assert {r.outcome for r in take([*paths, odd], survey)} == {"created"}
    drain()
    assert Job.objects.get().state == JobState.DONE
    assert sorted(m.kind for m in CalibrationMaster.objects.all()) == ["bias", "dark"]
    camera = Camera.objects.get()
    assert any("3 or more are needed" in text for text in camera.warnings)
    assert any("none of the frames is usable" in text for text in camera.warnings)
    problems = set(CalibrationFrame.objects.exclude(problem="").values_list("problem", flat=True))
    assert "f1.fits: no pixel is usable" in problems
    assert any(text.startswith("too little light") for text in problems)
