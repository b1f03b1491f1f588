"""PNG images show what the pixels say, and show where there is none."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PillowImage

from astrid_site.imaging.display import (
    MISSING_COLOUR,
    Limits,
    colormap_table,
    downsample,
    render_frame_png,
    render_png,
    scale_to_bytes,
    shared_limits,
    symmetric_limits,
)

STRETCHES = ["zscale", "percentile", "asinh", "linear"]
MAPS = ["gray", "gray_inverted", "cividis", "diverging"]


def decode(png: bytes) -> np.ndarray:
    return np.asarray(PillowImage.open(io.BytesIO(png)).convert("RGB"))


def noisy_sky(seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    data = rng.normal(100, 5, (80, 100)).astype(np.float32)
    data[40, 50] = 5000
    return data


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("colormap", MAPS)
def test_every_stretch_and_map_gives_a_png_of_the_zoomed_shape(stretch, colormap) -> None:
    image = decode(render_png(noisy_sky(), stretch=stretch, colormap=colormap, zoom=3))
    assert image.shape == (240, 300, 3)


@pytest.mark.parametrize("stretch", STRETCHES)
def test_brighter_pixels_are_never_darker(stretch) -> None:
    ramp = np.linspace(-5, 105, 300, dtype=np.float32)[None]
    scaled = scale_to_bytes(ramp, Limits(0.0, 100.0), stretch=stretch)[0].astype(int)
    assert (np.diff(scaled) >= 0).all()
    assert (scaled[0], scaled[-1]) == (0, 255)


def test_asinh_lifts_the_faint_end() -> None:
    faint = np.array([[5.0]], np.float32)
    limits = Limits(0.0, 100.0)
    assert scale_to_bytes(faint, limits, stretch="asinh") > 2 * scale_to_bytes(
        faint, limits, stretch="linear"
    )


def test_the_first_row_of_the_data_is_at_the_bottom() -> None:
    data = np.zeros((4, 6), np.float32)
    data[0, 2] = 1.0
    image = decode(render_png(data, stretch="linear"))
    assert tuple(image[3, 2]) == (255, 255, 255)
    assert image.sum() == 3 * 255


@pytest.mark.parametrize("colormap", MAPS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_pixels_have_a_colour_of_their_own(colormap, value) -> None:
    data = noisy_sky()
    data[0, 0] = value
    assert tuple(decode(render_png(data, colormap=colormap))[-1, 0]) == MISSING_COLOUR
    distance = np.abs(colormap_table(colormap).astype(int) - MISSING_COLOUR).max(axis=1)
    assert distance.min() > 25


@pytest.mark.parametrize("colormap", MAPS)
def test_every_level_has_its_colour_also_beside_missing_pixels(colormap) -> None:
    ramp = np.arange(256, dtype=np.float32)[None]
    table, limits = colormap_table(colormap), Limits(0.0, 255.0)
    whole = decode(render_png(ramp, limits=limits, stretch="linear", colormap=colormap))
    assert np.array_equal(whole[0], table)
    ramp[0, 200] = np.nan
    holed = decode(render_png(ramp, limits=limits, stretch="linear", colormap=colormap))
    table[200] = MISSING_COLOUR
    table[1] = table[0]
    assert np.array_equal(holed[0], table)


def test_grey_and_cividis_grow_steadily_brighter() -> None:
    luma = np.array([0.2126, 0.7152, 0.0722])
    for name in ("gray", "cividis"):
        assert (np.diff(colormap_table(name) @ luma) > -0.5).all()
    diverging = colormap_table("diverging") @ luma
    assert diverging.argmax() in (127, 128)


def test_panels_share_their_limits() -> None:
    first, second = noisy_sky(1), noisy_sky(2) + 50
    limits = shared_limits([first, second], stretch="percentile")
    assert limits.low < 95
    assert limits.high > 150
    equal = scale_to_bytes(np.full((2, 2), 120, np.float32), limits, stretch="percentile")
    assert len(np.unique(equal)) == 1


def test_zscale_follows_the_background_not_the_brightest_star() -> None:
    limits = shared_limits([noisy_sky()], stretch="zscale")
    assert 60 < limits.low < 100 < limits.high < 200


def test_limits_of_differences_are_symmetric() -> None:
    limits = symmetric_limits([noisy_sky() - 90])
    assert limits.low == -limits.high
    assert symmetric_limits([np.zeros((3, 3), np.float32)]) == Limits(-1.0, 1.0)


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("value", [0.0, 7.0, -3e30, np.nan])
def test_constant_and_empty_skies_are_rendered_too(stretch, value) -> None:
    image = decode(render_png(np.full((5, 5), value, np.float32), stretch=stretch))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 1


def test_a_frame_is_averaged_down_to_the_size_asked_for() -> None:
    data = np.arange(30 * 50, dtype=np.float32).reshape(30, 50)
    data[:, 45:] = np.nan
    image = decode(render_frame_png(data, max_size=20, stretch="linear"))
    assert image.shape == (10, 17, 3)
    assert tuple(image[0, -1]) == MISSING_COLOUR
    assert decode(render_frame_png(data, max_size=64)).shape == (30, 50, 3)


def test_averaging_keeps_the_mean_and_ignores_missing_pixels() -> None:
    data = np.ones((5, 7), np.float32)
    data[0, 0] = np.nan
    assert np.array_equal(downsample(data, 2), np.ones((3, 4), np.float32))
    assert downsample(data, 1).shape == data.shape


def test_wrong_arguments_are_refused_by_name() -> None:
    data = noisy_sky()
    with pytest.raises(ValueError, match="stretch"):
        render_png(data, stretch="sqrt")
    with pytest.raises(ValueError, match="colormap"):
        render_png(data, colormap="jet")
    with pytest.raises(ValueError, match="zoom"):
        render_png(data, zoom=0)
    with pytest.raises(ValueError, match="2-D"):
        render_png(data[0])
    with pytest.raises(ValueError, match="max_size"):
        render_frame_png(data, max_size=0)
    with pytest.raises(ValueError, match="factor"):
        downsample(data, 0)
    with pytest.raises(ValueError, match="ascending"):
        Limits(1.0, 1.0)
