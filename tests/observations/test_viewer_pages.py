"""Tiles and pictures of an observation: served in parts, for ever, to those who may see it."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image as PillowImage

from astrid_site import pipeline, redrawing
from astrid_site.core.models import Job, StoredFile
from astrid_site.core.status import JobState
from astrid_site.imaging.fits_products import read_product
from astrid_site.imaging.pyramid import decode_values, unpack_tile
from astrid_site.pages.stage_pictures import stage_pictures
from astrid_site.pages.view_files import open_views, stored_views
from catalog.models import AstroObject
from differencing.models import DifferenceRun
from observations.models import Observation
from preprocessing.models import ScienceImage
from tests.web import factories
from tests.web.conftest import client_of, sky

pytestmark = pytest.mark.django_db
__all__ = ["client_of", "sky"]
ClientOf = Callable[[str], Client]


@pytest.fixture
def observation(sky: factories.World) -> Observation:
    return sky.observations[0]


def state_of(client: Client, observation: Observation) -> dict:
    page = client.get(reverse("observations:viewer", args=[observation.pk]))
    return json.loads(page.context["viewer"].state_json)


def old_version_worked_on(observation: Observation) -> None:
    """Leave it as a version without tiles would have."""
    ScienceImage.objects.filter(observation=observation).update(preview_file=None)
    DifferenceRun.objects.filter(observation=observation).update(preview_file=None)


def product(stored: StoredFile | None) -> np.ndarray:
    from astrid_site.core.storage import local_copy

    assert stored is not None
    with local_copy(stored) as path:
        return read_product(path)[0].data


def test_a_tile_holds_the_pixels_of_the_product(
    client_of: ClientOf, observation: Observation
) -> None:
    client = client_of("viewer")
    run = DifferenceRun.objects.get(observation=observation)
    layers = {layer["name"]: layer for layer in state_of(client, observation)["layers"]}
    for name, stored in (("difference", run.file), ("score", run.score_file)):
        truth = product(stored)
        answer = client.get(f"{layers[name]['url']}/0/0/0")
        assert answer["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.content)
        step = layers[name]["levels"][0]["step"]
        found = decode_values(unpack_tile(answer.content, truth.shape), step=step)
        shown = np.isfinite(found)
        assert (~shown).sum() == 9  # the saturated pixels of the mask
        assert np.abs(found - truth)[shown].max() < 0.51 * np.hypot(
            step, np.abs(truth).max() / 1024
        )


def test_parts_are_kept_for_ever_by_the_browser_of_their_reader_alone(
    client_of: ClientOf, observation: Observation
) -> None:
    client = client_of("viewer")
    stored = stored_views(observation)["preprocess"]
    for part in ("science/0/0/0", "mask/0/0/0", "before.png"):
        given = {"observation_id": observation.pk, "stage": "preprocess", "sha256": stored.sha256}
        answer = client.get(reverse("observations:view", kwargs={**given, "part": part}))
        assert answer.status_code == 200
        assert answer["Cache-Control"] == "private, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("stage", "sha256", "part"),
    [
        ("preprocess", None, "moon/0/0/0"),
        ("preprocess", None, "science/7/0/0"),
        ("preprocess", None, "science/0/9/0"),
        ("preprocess", None, "moon.png"),
        ("preprocess", None, "../../../etc/passwd"),
        ("preprocess", None, "science/0/0/0/"),
        ("preprocess", "0" * 64, "science/0/0/0"),
        ("reference", None, "science/0/0/0"),
    ],
)
def test_parts_that_are_not_there_are_not_found(
    client_of: ClientOf, observation: Observation, stage: str, sha256: str | None, part: str
) -> None:
    sha256 = sha256 or stored_views(observation)["preprocess"].sha256
    address = f"/observations/{observation.pk}/views/{stage}/{sha256}/{part}"
    assert client_of("viewer").get(address).status_code == 404


def test_the_tiles_of_one_observation_are_not_given_out_as_anothers(
    sky: factories.World, client_of: ClientOf
) -> None:
    factories.make_epoch(sky, 1, sources=[])
    first, second = sky.observations
    given = {"stage": "preprocess", "sha256": stored_views(first)["preprocess"].sha256}
    part = {"part": "science/0/0/0"}
    mine = reverse("observations:view", kwargs={"observation_id": first.pk, **given, **part})
    other = reverse("observations:view", kwargs={"observation_id": second.pk, **given, **part})
    assert client_of("viewer").get(mine).status_code == 200
    assert client_of("viewer").get(other).status_code == 404


def test_tiles_whose_bytes_are_gone_are_not_found(
    client_of: ClientOf, observation: Observation, settings
) -> None:
    from pathlib import Path

    from django.core.files.storage import default_storage

    stored = stored_views(observation)["preprocess"]
    address = reverse(
        "observations:view",
        args=[observation.pk, "preprocess", stored.sha256, "science/0/0/0"],
    )
    client = client_of("viewer")
    assert client.get(address).status_code == 200
    path = Path(default_storage.path(stored.key))
    path.rename(path.with_suffix(".away"))
    try:
        assert client.get(address).status_code == 404
    finally:
        path.with_suffix(".away").rename(path)


def test_no_page_reads_a_product_to_show_whole_frames(
    client_of: ClientOf, observation: Observation
) -> None:
    """The FITS products may even be gone: pages show what the worker drew."""
    from pathlib import Path

    from django.core.files.storage import default_storage

    run = DifferenceRun.objects.get(observation=observation)
    image = ScienceImage.objects.get(observation=observation)
    client = client_of("viewer")
    for stored in (image.file, run.file, run.template_file, run.score_file):
        path = Path(default_storage.path(stored.key))
        path.chmod(0o640)
        path.unlink()
    for panel in ("science", "template", "difference", "score"):
        address = reverse("observations:image", args=[observation.pk, panel])
        picture = PillowImage.open(io.BytesIO(client.get(address).content))
        assert picture.size == (factories.SIZE, factories.SIZE)
    assert client.get(reverse("observations:viewer", args=[observation.pk])).status_code == 200
    finder = reverse("catalog:finder", args=[AstroObject.objects.all()[0].pk])
    assert client.get(finder).status_code == 200


def test_a_place_of_another_night_is_cut_from_tiles_as_from_the_products(
    client_of: ClientOf, observation: Observation
) -> None:
    run = DifferenceRun.objects.get(observation=observation)
    thing = AstroObject.objects.all()[0]
    address = reverse("catalog:epoch", args=[thing.pk, run.pk])
    client = client_of("viewer")
    from_tiles = PillowImage.open(io.BytesIO(client.get(address).content))
    old_version_worked_on(observation)
    from_products = PillowImage.open(io.BytesIO(client.get(address).content))
    assert from_tiles.size == from_products.size == (4 * 63, 63)
    apart = np.abs(np.asarray(from_tiles, int) - np.asarray(from_products, int))
    # one level of grey by rounding; pixels at the edge of the mask are missing in both
    assert (apart > 6).mean() < 0.002


def test_the_viewer_marks_candidates_and_links_them_as_the_reader_may(
    client_of: ClientOf, sky: factories.World, observation: Observation
) -> None:
    marks = {mark["label"]: mark for mark in state_of(client_of("curator"), observation)["marks"]}
    assert len(marks) == 2
    for detection, thing in zip(sky.detections, sky.objects, strict=True):
        mark = marks[thing.name]
        assert (mark["x"], mark["y"]) == pytest.approx((detection.x, detection.y), abs=0.005)
        assert mark["url"] == reverse("curation:vet_candidate", args=[detection.pk])
    for mark in state_of(client_of("viewer"), observation)["marks"]:
        assert mark["url"].startswith("/objects/")


def test_the_viewer_names_every_plane_of_the_mask(
    client_of: ClientOf, observation: Observation
) -> None:
    from astrid_site.imaging.masks import MaskPlane

    planes = state_of(client_of("viewer"), observation)["planes"]
    assert [plane["bit"] for plane in planes] == [int(plane) for plane in MaskPlane]
    assert len({tuple(plane["colour"]) for plane in planes}) == len(planes)
    assert "cosmic ray" in {plane["label"] for plane in planes}


def test_a_frame_without_world_coordinates_is_shown_without_positions(
    sky: factories.World, client_of: ClientOf
) -> None:
    frame = factories.make_epoch(sky, 1, sources=[(40.0, 40.0, 4000.0)], has_wcs=False)
    client = client_of("curator")
    assert state_of(client, frame)["sky"] is None
    page = client.get(reverse("observations:viewer", args=[frame.pk])).content.decode()
    assert "no world coordinates" in page


def test_an_old_observation_says_so_and_offers_to_draw_it(
    client_of: ClientOf, observation: Observation
) -> None:
    old_version_worked_on(observation)
    for name in ("observations:viewer", "observations:detail"):
        address = reverse(name, args=[observation.pk])
        page = client_of("researcher").get(address).content.decode()
        assert "by an older version" in page
        form = page[page.index(reverse("observations:redraw", args=[observation.pk])) :]
        assert "csrfmiddlewaretoken" in form[: form.index("Make the pictures")]
        assert "Make the pictures" not in client_of("viewer").get(address).content.decode()
    image = reverse("observations:image", args=[observation.pk, "science"])
    assert client_of("viewer").get(image).status_code == 404


def test_a_frame_that_is_not_calibrated_yet_has_nothing_to_draw(
    sky: factories.World, client_of: ClientOf
) -> None:
    fresh = factories.make_observation(sky.survey, 50)
    client = client_of("researcher")
    page = client.get(reverse("observations:viewer", args=[fresh.pk])).content.decode()
    assert "the calibrated frame comes first" in page
    client.post(reverse("observations:redraw", args=[fresh.pk]))
    assert not Job.objects.filter(kind=redrawing.REDRAW).exists()


def test_asking_twice_for_pictures_makes_one_job(
    client_of: ClientOf, observation: Observation
) -> None:
    old_version_worked_on(observation)
    client = client_of("researcher")
    for _ in range(2):
        client.post(reverse("observations:redraw", args=[observation.pk]))
    job = Job.objects.get(kind=redrawing.REDRAW)
    assert job.state == JobState.QUEUED
    page = client.get(reverse("observations:viewer", args=[observation.pk])).content.decode()
    assert "A worker is making the pictures" in page


def test_the_stages_are_told_in_pictures_and_numbers(
    client_of: ClientOf, observation: Observation
) -> None:
    drawn = stage_pictures(observation)
    assert drawn.preprocess is not None
    assert [(row.label, row.count) for row in drawn.preprocess.planes] == [
        ("saturated", 9),
        ("edge", 0),
    ]
    assert drawn.preprocess.stars.rings[0].count == 1
    assert drawn.preprocess.stars.rings[0].path.startswith("M58.5 89.5a")
    assert drawn.difference is not None
    quality = {row.name: row for row in drawn.difference.quality}
    assert quality["residuals at bright stars"].verdict == "pass"
    assert quality["residuals at bright stars"].used == pytest.approx(1.1 / 2.5)
    lag = quality["the correlation of neighbouring pixels"]
    assert (lag.verdict, lag.used, lag.limit) == ("downgrade", pytest.approx(1.5), "−0.2 to 0.2")
    assert drawn.difference.histogram is not None
    assert drawn.difference.histogram.n_beyond == 2
    page = client_of("viewer").get(reverse("observations:detail", args=[observation.pk]))
    text = page.content.decode()
    for words in ("Masked pixels by plane", "each number against its limit", "at most 2.5"):
        assert words in text


def test_the_pictures_alone_are_sent_to_a_page_that_is_open(
    client_of: ClientOf, observation: Observation
) -> None:
    address = reverse("observations:detail", args=[observation.pk])
    part = client_of("viewer").get(address, headers={"HX-Target": "pictures"}).content.decode()
    assert "Masked pixels by plane" in part
    assert "<html" not in part


def test_the_index_of_a_file_is_read_once(observation: Observation) -> None:
    stored = stored_views(observation)["preprocess"]
    assert open_views(stored) is open_views(stored)


def test_redrawing_is_work_that_the_ledger_knows() -> None:
    assert pipeline.HANDLERS[redrawing.REDRAW] is redrawing.run_redraw
