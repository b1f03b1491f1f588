"""What the page says of depth, zero point and PSF: each number where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from astrid_site.imaging import stage_views
from astrid_site.pages.depth_curve import draw_depth
from astrid_site.pages.zero_point import zero_point_rows
from preprocessing.algorithms.completeness import summarise
from preprocessing.models import ScienceImage
from tests.web.factories import World


def told(*, zero_point: float | None = 25.0, noise: float = 100.0) -> dict[str, Any]:
    flux = 100.0 * 10 ** np.linspace(-0.3, 0.3, 16)
    share = 1 / (1 + np.exp(-(np.log(flux / 100.0)) / 0.12))
    found = np.rint(400 * share).astype(int).tolist()
    depth = summarise(flux, found, n_places=400, noise_scale=1.2, noise_flux=noise)
    return {"injected_depth": depth.as_json(zero_point=zero_point)}


def test_the_curve_falls_with_magnitude_and_crosses_a_half_where_it_says() -> None:
    view = draw_depth(told())
    assert view is not None
    heights = [y for _, y in view.points]
    places = [x for x, _ in view.points]
    # sources are listed from faint to bright, and y points down
    assert places == sorted(places, reverse=True)
    assert heights == sorted(heights, reverse=True)
    assert view.half_at == pytest.approx(view.noise_at, abs=1.0)
    assert view.says.startswith("half of 400 sources put in are found at 20.00 mag (")
    assert view.note == ""
    assert [tick.label for tick in view.y_ticks] == ["0 %", "50 %", "90 %"]
    assert "20" in [tick.label for tick in view.x_ticks]


def test_a_difference_of_more_than_a_tenth_of_a_magnitude_is_noted_with_its_cause() -> None:
    view = draw_depth(told(noise=80.0))
    assert view is not None
    assert view.note == (
        "0.24 mag brighter than the noise alone promises: "
        "measured fluxes of nothing scatter 1.20 times as much as predicted"
    )
    assert "fainter" in (draw_depth(told(noise=120.0)) or view).note


def test_without_a_zero_point_fluxes_are_shown() -> None:
    view = draw_depth(told(zero_point=None))
    assert view is not None
    assert view.unit == "log flux"
    assert view.says == "half of 400 sources put in are found at a flux of 100"
    assert view.note == ""


def test_without_injections_there_is_no_curve() -> None:
    assert draw_depth({}) is None
    assert draw_depth({"injected_depth": None}) is None


def test_the_zero_point_is_told_with_all_it_depends_on() -> None:
    assert zero_point_rows({"zero_point": None}) == ()
    rows = dict(zero_point_rows({"zero_point": 25.1, "zero_point_source": "header"}))
    assert rows == {"Zero point": "25.1000 mag", "From": "the header"}
    metrics = {
        "zero_point": 25.1,
        "zero_point_error": 0.002,
        "zero_point_source": "catalog",
        "zero_point_catalog": "ps1.csv",
        "zero_point_n_stars": 90,
        "zero_point_n_clipped": 4,
        "zero_point_sigma_int": 0.011,
        "color_term": -0.05,
        "color_term_error": 0.004,
        "color_term_color": "g-r",
        "color_term_reference": 0.61,
        "zero_point_trend_x": 0.012,
        "zero_point_trend_y": -0.001,
        "zero_point_trend_sigma": 5.2,
        "zero_point_trend_applied": "yes",
    }
    rows = dict(zero_point_rows(metrics))
    assert rows["Zero point"] == "25.1000 ± 0.0020 mag"
    assert rows["From"] == "ps1.csv"
    assert rows["Colour term"] == "−0.0500 ± 0.0040 per mag of g-r, at 0.61"
    assert rows["Slope over the frame"] == "0.0120, −0.0010 mag to the edges, 5.2 σ, taken out"
    sparse = {**metrics, "color_term": None, "zero_point_trend_sigma": None}
    rows = dict(zero_point_rows(sparse))
    assert rows["Colour term"] == "too few stars or colours"
    assert rows["Slope over the frame"] == "too few stars"
    problem = {"zero_point_catalog_problem": "too few stars for a zero point: 2"}
    assert dict(zero_point_rows(problem))["Catalogue"].startswith("not used: too few")


def test_the_page_shows_depth_zero_point_and_a_doubtful_psf(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    observation = sky.observations[0]
    image = ScienceImage.objects.filter(observation=observation).latest("created_at")
    image.metrics |= {
        **told(noise=80.0),
        "zero_point": 25.0,
        "zero_point_source": "header",
        "n_psf_stars": 7,
        "quality_flags": ["psf_of_few_stars"],
    }
    image.save(update_fields=["metrics"])
    page = client_of("viewer").get(reverse("observations:detail", args=[observation.pk]))
    text = page.content.decode()
    assert "half of 400 sources put in are found at 20.00 mag" in text
    assert "than the noise alone promises" in text
    assert "25.0000 mag" in text
    assert "It rests on 7 stars" in text


def test_raw_pixels_are_a_layer_with_their_own_limits_and_no_noise() -> None:
    from tests.web.factories import Image

    rng = np.random.default_rng(1)
    data = rng.normal(0, 5, (64, 64)).astype(np.float32)
    mask = np.zeros((64, 64), np.uint16)
    image = Image(data=data, mask=mask, variance=np.full((64, 64), 25.0, np.float32))
    raw = image.with_(data=data + np.float32(300), variance=None)
    layers = {layer.name: layer for layer in stage_views.science_layers(image, raw=raw)}
    assert list(layers) == ["science", "raw", "noise"]
    assert layers["raw"].data == pytest.approx(layers["science"].data + 300)
    assert layers["raw"].facts["noise"] is None
    low, high = layers["raw"].facts["limits"]["zscale"]
    assert 270 < low < 300 < high < 330


def test_the_residual_map_has_a_part_for_every_place() -> None:
    images = np.full((9, 7, 7), np.nan, np.float32)
    images[4] = np.linspace(-2, 2, 49).reshape(7, 7)
    assert stage_views.residual_picture(images).startswith(b"\x89PNG")
