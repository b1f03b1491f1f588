"""Frames with trimmed overscan: pages count pixels as their candidates do, not as the raw frame."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from astrid_site.pages.stage_pictures import stage_pictures
from detection.models import Detection
from detection.pages import warnings
from differencing.models import DifferenceRun
from observations.models import Observation
from preprocessing.models import ScienceImage
from tests.preprocessing.factories import make_master
from tests.web.factories import World

#: Columns and rows of overscan.
EXTRA = 32, 20


@pytest.fixture
def trimmed(sky: World) -> Observation:
    frame = sky.observations[0]
    frame.image_width += EXTRA[0]
    frame.image_height += EXTRA[1]
    frame.save()
    return frame


def text_of(client: Client, frame: Observation) -> str:
    page = client.get(reverse("observations:detail", args=[frame.pk])).content.decode()
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_candidates_are_ringed_where_they_are_on_the_picture(
    trimmed: Observation, sky: World
) -> None:
    drawn = stage_pictures(trimmed)
    assert drawn.detect is not None
    assert drawn.difference is not None
    marks, frame = drawn.detect.marks, drawn.difference.residuals
    size = trimmed.image_width - EXTRA[0], trimmed.image_height - EXTRA[1]
    assert (marks.width, marks.height) == (frame.width, frame.height) == size
    # a ring's path begins at its left end: radius left of the middle, rows counted from the top
    kept = Detection.objects.filter(observation=trimmed, is_kept=True)
    starts = re.findall(r"M(-?[\d.]+) (-?[\d.]+)a([\d.]+)", marks.rings[0].path)
    middles = sorted((float(x) + float(r) - 0.5, size[1] - 0.5 - float(y)) for x, y, r in starts)
    assert len(kept) > 0
    assert np.allclose(middles, sorted((d.x, d.y) for d in kept), atol=0.1)


def test_the_page_says_both_sizes(trimmed: Observation, client_of: Callable[[str], Client]) -> None:
    width, height = trimmed.image_width, trimmed.image_height
    said = f"{width - EXTRA[0]} × {height - EXTRA[1]} pix of {width} × {height} raw"
    assert said in text_of(client_of("viewer"), trimmed)


def test_the_distance_to_the_edge_is_that_to_the_trimmed_edge(trimmed: Observation) -> None:
    found = Detection.objects.filter(observation=trimmed).select_related("observation").first()
    assert found is not None
    found.x = trimmed.image_width - EXTRA[0] - 1 - 5.0
    found.y = trimmed.image_height / 2
    assert any(said.startswith("5 pix from the edge") for said in warnings(found))


def test_the_verdict_of_the_products_stands_over_the_numbers_it_follows_from(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client, frame = client_of("viewer"), sky.observations[0]
    for quality, words in (("pass", "pass"), ("fail", "fail: not to be trusted")):
        DifferenceRun.objects.update(quality=quality)
        text = text_of(client, frame)
        assert f"Quality: {words} each number against its limit" in text
        assert "good" not in text


def test_numbers_with_a_unit_are_shown_with_it(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    limits = [
        {"name": "n_blank", "passing": [500, None], "tolerable": [0, None]},
        {"name": "model_shift_pix", "passing": [0, 0.1], "tolerable": [0, 0.5]},
    ]
    for run in DifferenceRun.objects.all():
        told = {"quality_limits": limits, "n_blank": 949_000, "model_shift_pix": 0.01}
        run.metrics = run.metrics | told
        run.save()
    text = text_of(client_of("viewer"), sky.observations[0])
    assert "the blank sky 949,000 pix at least 500 pix" in text
    assert "the match in position 0.01 pix at most 0.1 pix" in text


def test_pixels_beyond_the_histogram_are_said_to_be_no_noise(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    text = text_of(client_of("viewer"), sky.observations[0])
    assert "The 2 pixels beyond ±6 σ are no noise" in text


def test_the_masters_a_frame_was_calibrated_with_are_named_and_linked(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    frame = sky.observations[0]
    master = make_master(frame.survey, "bias")
    for image in ScienceImage.objects.filter(observation=frame):
        image.bias_master, image.metrics = master, image.metrics | {"calibration": "bias, trim"}
        image.save()
    client = client_of("viewer")
    page = client.get(reverse("observations:detail", args=[frame.pk])).content.decode()
    assert reverse("preprocessing:master", args=[master.pk]) in page
    assert "bias, trim" in page
