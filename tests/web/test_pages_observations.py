"""The table of observations, the page of one, and handing frames in."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from observations.models import Observation, Survey
from tests.web import factories
from tests.web.factories import World


def test_observations_are_filtered_and_paged_without_loss(
    client_of: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observations.pages.PAGE_SIZE", 3)
    survey = factories.make_survey()
    for number in range(7):
        factories.make_observation(survey, number, band="r" if number % 2 else "g")
    client, address, seen = client_of("viewer"), reverse("observations:list"), []
    while address:
        text = client.get(address).content.decode()
        seen += re.findall(r'href="/observations/([0-9a-f-]{36})/"', text)
        older = re.search(r'href="(\?[^"]*cursor=[^"]+)"', text)
        address = reverse("observations:list") + older[1].replace("&amp;", "&") if older else ""
    assert len(seen) == len(set(seen)) == 7
    only_g = client.get(reverse("observations:list"), {"band": "g", "q": "field"})
    assert {row.band for row in only_g.context["table"].rows} == {"g"}


def test_a_cursor_that_is_none_of_ours_gives_the_first_page(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    for cursor in ("x", "bnVsbA==", "WzEsMl0=", "\x00", "é"):
        answer = client_of("viewer").get(reverse("observations:list"), {"cursor": cursor})
        assert len(answer.context["table"].rows) == 1


def test_the_list_tells_role_quality_step_and_the_whole_reason_in_the_words_of_pages(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    from differencing.models import DifferenceRun

    frame = sky.observations[0]
    reason = "the difference (kernel) fails: coverage 0.1 is outside 0.8 to 1. " + "Look. " * 20
    Observation.objects.filter(pk=frame.pk).update(
        status="failed", stage="difference", reason=reason + "The end", role="template"
    )
    DifferenceRun.objects.update(quality="fail")
    client = client_of("viewer")
    text = " ".join(client.get(reverse("observations:list")).content.decode().split())
    for words in (
        "reference frame",
        "Register and subtract",
        "difference not to be trusted",
        "could be compared (10 %, limit 80 %)",
        "The end",
    ):
        assert words in text, words
    assert "<span>difference</span>" not in text
    DifferenceRun.objects.update(quality="downgrade")
    assert "to be used with care" in client.get(reverse("observations:list")).content.decode()
    DifferenceRun.objects.update(quality="pass")
    assert "with care" not in client.get(reverse("observations:list")).content.decode()
    assert "Register and subtract" in client.get("/").content.decode()


def test_an_observation_page_shows_stages_images_candidates_and_header(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    observation = sky.observations[0]
    Observation.objects.filter(pk=observation.pk).update(
        overrides={"gain": 1.5}, defects=["EXPTIME is text"]
    )
    text = client_of("viewer").get(reverse("observations:detail", args=[observation.pk]))
    page = text.content.decode()
    for words in ("Calibrate the frame", "2.4 s", "sky noise", "from the sidecar table"):
        assert words in page
    assert "EXPTIME is text" in page
    assert page.count('<figure class="preview"') == 4
    assert sky.objects[0].name in page


def test_uploads_are_answered_file_by_file_also_without_scripts(
    client_of: Callable[[str], Client], tmp_path
) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    broken = SimpleUploadedFile("notes.fits", b"this is no FITS file")
    answer = client_of("researcher").post(
        reverse("observations:upload"), {"survey": "New survey", "frames": [broken]}
    )
    assert answer.status_code == 200
    (result,) = answer.context["results"]
    assert (result["outcome"], result["file_name"]) == ("refused", "notes.fits")
    assert result["code"]
    assert result["reason"] in answer.content.decode().replace("&#x27;", "'")
    assert not Observation.objects.exists()
    assert Survey.objects.filter(name="New survey").exists()


def test_a_good_upload_becomes_an_observation_with_work_to_do_once(
    client_of: Callable[[str], Client], tmp_path
) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    from astrid_site.core.models import Job
    from astrid_site.imaging.simulation import write_survey
    from astrid_site.imaging.sky_survey import SkyConfig

    folder = tmp_path / "sky"
    config = SkyConfig(n_fields=1, n_epochs=3, shape=(128, 128))
    write_survey(config, folder)
    data = sorted(folder.glob("*.fits"))[0].read_bytes()
    client, address = client_of("researcher"), reverse("observations:upload")
    outcomes = []
    for _ in range(2):
        upload = SimpleUploadedFile("night.fits", data)
        answer = client.post(
            address,
            {"survey": "Mine", "frames": [upload]},
            headers={"Accept": "application/json"},
        )
        outcomes.append(answer.json()["results"][0]["outcome"])
    assert outcomes == ["created", "duplicate"]
    observation = Observation.objects.get()
    assert list(Job.objects.values_list("kind", "subject_id")) == [("preprocess", observation.pk)]


@pytest.mark.parametrize(
    ("ended", "state", "label"),
    [
        ("cancelled", "cancelled", "cancelled"),
        ("failed", "queued", "not done"),
        ("skipped", "done", "not done"),
        ("running", "queued", "queued"),
    ],
)
def test_a_stage_is_queued_only_while_the_frame_is_under_way(
    client_of: Callable[[str], Client], ended: str, state: str, label: str
) -> None:
    from astrid_site.core.models import Job
    from astrid_site.pages.observation import stage_rows

    survey = factories.make_survey()
    frame = factories.make_observation(survey, 1, status=ended, stage="difference")
    Job.objects.create(kind="difference", subject_id=frame.pk, config_version="1", state=state)
    rows = {row.name: row.status_label for row in stage_rows(frame)}
    assert rows["difference"] == label
    assert rows["detect"] == ("not reached" if ended == "running" else "not done")
    page = client_of("viewer").get(reverse("observations:detail", args=[frame.pk]))
    assert (">queued<" in page.content.decode()) is (label == "queued")


def test_a_run_that_never_began_of_a_frame_that_ended_is_not_pending(db: None) -> None:
    from astrid_site.pages.observation import stage_rows
    from differencing.models import DifferenceRun

    frame = factories.make_observation(factories.make_survey(), 1, status="failed")
    DifferenceRun.objects.create(observation=frame, pipeline_version="1", status="pending")
    (row,) = (row for row in stage_rows(frame) if row.name == "difference")
    assert (row.status, row.status_label) == ("none", "not done")


def test_a_skipped_frame_tells_that_its_light_curves_were_measured(db: None) -> None:
    from astrid_site import pipeline
    from astrid_site.core.models import Job
    from astrid_site.pages.observation import stage_rows

    frame = factories.make_observation(factories.make_survey(), 1, status="skipped")
    assert stage_rows(frame)[-1].status_label == "not done"
    Job.objects.create(kind=pipeline.MEASURE, subject_id=frame.pk, config_version="1", state="done")
    row = stage_rows(frame)[-1]
    assert (row.name, row.status) == ("photometry", "succeeded")
    assert row.status_label == "measured without a difference"
