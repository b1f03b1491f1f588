"""A night of simulated calibration frames as files, and how tests take them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astrid_site.core import tasking
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
from tests.observations.factories import make_survey

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
