"""Masters as people and programs see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from astrid_site.core.models import Job
from astrid_site.imaging.sky_calibration import Detector
from observations.models import Survey
from preprocessing.models import CalibrationFrame, CalibrationMaster, Camera, ScienceImage
from preprocessing.services import load_image
from tests.api.fixtures import browser_as, people
from tests.pipeline.drive import drain
from tests.preprocessing.calibration_night import (
    detector,
    expose,
    night,
    nobody_listens,
    survey,
    take,
)
from tests.preprocessing.factories import make_camera, make_master

__all__ = ["browser_as", "detector", "night", "nobody_listens", "people", "survey"]
pytestmark = pytest.mark.django_db


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


def test_a_master_that_differs_and_a_doubtful_gain_are_told(
    survey: Survey, browser_as: Callable[[str], Client], detector: Detector, tmp_path: Path
) -> None:
    make_master(
        survey, "flat", verdict="changed", reasons=["3 % of its pixels changed (limit 1 %)"]
    )
    camera = make_camera(survey)
    camera.warnings = ["the gain is stated as 3.4 e/adu, the frames say 1.7 e/adu"]
    camera.save()
    take([expose(tmp_path, detector)[0]], survey)
    drain()
    image = ScienceImage.objects.get()
    image.metrics |= {"gain_check": "suspect", "gain_used": 3.4, "gain_from_sky": 1.69}
    image.metrics["gain_doubt"] = ""
    image.save()
    text = browser_as("viewer").get("/calibration/").content.decode()
    assert "differs from the last" in text
    assert "3 % of its pixels changed" in text
    assert "the gain is stated as 3.4 e/adu" in text
    assert f"/observations/{image.observation_id}/" in text
    assert "1.69 from the sky" in text
    page = browser_as("viewer").get(f"/observations/{image.observation_id}/").content.decode()
    assert "The gain of 3.4 electrons per unit contradicts" in page
    assert "which says 1.69" in page
    # where the frame is judged, not only in what is folded away
    assert page.index("which says 1.69") < page.index("Before: as it came in")


def test_a_calibration_frame_can_be_uploaded_by_page_and_by_program(
    night: list[Path], survey: Survey, browser_as: Callable[[str], Client]
) -> None:
    client = browser_as("researcher")
    with night[0].open("rb") as file:
        form = {"survey": survey.name, "frames": [file]}
        page = client.post("/observations/upload/", form).content.decode()
    assert "a bias frame: kept for calibration, not searched" in page
    with night[1].open("rb") as file:
        answer = client.post("/api/v1/observations/", {"survey": survey.name, "file": file})
    assert answer.status_code == 202
    told = answer.json()
    assert (told["outcome"], told["code"]) == ("created", "calibration_frame")
    assert told["observation"] is None
    frames = CalibrationFrame.objects.all()
    assert {frame.submitted_by.username for frame in frames if frame.submitted_by} == {
        "researcher-person"
    }


def test_the_first_page_shows_that_masters_are_being_built(
    night: list[Path], survey: Survey, browser_as: Callable[[str], Client]
) -> None:
    take(night[:3], survey)
    Job.objects.update(
        state="running", token=uuid4(), lease_until=timezone.now() + timedelta(minutes=5)
    )
    assert "build" in browser_as("viewer").get("/tonight/work/").content.decode()


def test_another_section_makes_other_masters(
    night: list[Path], survey: Survey, browser_as: Callable[[str], Client]
) -> None:
    take(night[:5], survey)
    drain()
    camera, old = Camera.objects.get(), CalibrationMaster.objects.get()
    address = f"/admin/preprocessing/camera/{camera.pk}/change/"
    client = browser_as("admin")
    form = client.get(address).context["adminform"].form
    fields = {name: form.get_initial_for_field(f, name) for name, f in form.fields.items()}
    given = {k: "" if v is None else v for k, v in fields.items() if not isinstance(v, bool)}
    given |= {"image_section": "[1:160,1:64]", "crosstalk": "{}"}
    assert client.post(address, given).status_code == 302
    drain()
    old.refresh_from_db()
    assert old.superseded_by is not None
    assert load_image(old.superseded_by.file).shape == (64, 160)
