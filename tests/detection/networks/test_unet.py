"""The U-Net looks at frames tile by tile, in their own units, and says where something changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detection.networks.unet import UNet, normalise_tiles, probability_maps
from detection.networks.unet_weights import load_unet, read_unet_record, save_unet


def draw_planes(seed: int, *, ny: int = 96, nx: int = 120) -> np.ndarray:
    """Blank sky of noise 3 in the frames and 4 in the difference, the score in sigma."""
    rng = np.random.default_rng(seed)
    scale = np.array([3.0, 3.0, 4.0, 1.0])[:, None, None]
    return (rng.normal(0.0, 1.0, (4, ny, nx)) * scale).astype(np.float32)


def untrained() -> UNet:
    torch.manual_seed(3)
    return UNet().eval()


def test_units_and_background_of_the_frames_do_not_matter_and_sigma_of_the_score_does() -> None:
    planes = torch.from_numpy(draw_planes(1))[None]
    seen = normalise_tiles(planes)
    changed = planes.clone()
    changed[:, :2] = changed[:, :2] * 50.0 + 1000.0
    changed[:, 2] *= 50.0
    # a background of 1,000 in single precision leaves 1e-5 of a sigma
    assert torch.allclose(normalise_tiles(changed), seen, atol=2e-3)
    changed[:, 3] *= 2.0
    assert torch.allclose(normalise_tiles(changed)[:, 3], 2.0 * seen[:, 3])


def test_missing_pixels_are_zero_and_told() -> None:
    planes = torch.from_numpy(draw_planes(2))[None]
    planes[:, 2:, 10:20, 30:40] = torch.nan
    seen = normalise_tiles(planes)
    assert bool(seen.isfinite().all())
    assert bool((seen[:, 2:, 10:20, 30:40] == 0).all())
    assert float(seen[:, 4].sum()) == 96 * 120 - 100
    blank = normalise_tiles(torch.full((1, 4, 8, 8), torch.nan))
    assert bool((blank == 0).all())


def test_a_frame_in_tiles_gives_what_the_whole_frame_gives() -> None:
    planes = draw_planes(4, ny=200, nx=200)
    # three values of which the middle one is the median everywhere: a tile measures what the
    # frame does
    planes[:3] = np.sign(planes[:3]) * (np.abs(planes[:3]) > 1.6)
    network = untrained()
    whole = probability_maps(network, planes, tile=200, margin=0)
    tiled = probability_maps(network, planes, tile=96, margin=24)
    assert whole.shape == (3, 200, 200)
    # three levels see 22 pixels far: the margin holds all that a tile's edge could change
    assert np.abs(whole - tiled).max() < 1e-5


def test_nothing_changes_where_the_difference_has_no_pixels() -> None:
    planes = draw_planes(5)
    planes[2:, :, :17] = np.nan
    said = probability_maps(untrained(), planes, tile=64, margin=12)[0]
    assert (said[:, :17] == 0).all()
    assert (said[:, 17:] > 0).all()


def test_tiles_without_a_middle_and_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        probability_maps(untrained(), draw_planes(6), tile=48, margin=24)
    with pytest.raises(ValueError, match="need shape"):
        normalise_tiles(torch.zeros(1, 3, 8, 8))


def test_weights_are_those_that_the_record_names(tmp_path) -> None:
    path = tmp_path / "unet.safetensors"
    network = untrained()
    digest = save_unet(network, path, record={"plan": {}})
    assert read_unet_record(path)["sha256"] == digest
    planes = draw_planes(7, ny=64, nx=64)
    again = probability_maps(load_unet(path), planes, tile=64)
    assert np.array_equal(again, probability_maps(network, planes, tile=64))
    path.write_bytes(path.read_bytes()[:-4] + b"\0\1\2\3")
    with pytest.raises(ValueError, match="SHA-256"):
        load_unet(path)
    with pytest.raises(FileNotFoundError, match="train_network unet"):
        load_unet(tmp_path / "none.safetensors")
