"""The U-Net learns where sources are from tiles of known truth, and a killed training goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from astrid_site.imaging.image import Image
from detection.networks.unet import UNet, probability_maps
from detection.training.unet_scenes import (
    NO,
    UNKNOWN,
    YES,
    Scene,
    Tiles,
    cut_tiles,
    draw_trails,
    read_scenes,
    simulate_scene,
    write_scenes,
)
from detection.training.unet_training import (
    UNetPlan,
    train_unet,
    turn_tiles,
    unet_loss,
    validate_unet,
)

PLAN = UNetPlan(epochs=3, batch=4, learning_rate=1e-2, patience=9)
SIGMA = 1.4
SEED = 50_001


def draw_tiles(seed: int, n: int) -> Tiles:
    """Point sources of S/N 12, and sharp pixels of the same score that are none."""
    rng = np.random.default_rng(seed)
    planes = rng.normal(0.0, 1.0, (n, 4, 64, 64)).astype(np.float32)
    truth = np.zeros((n, 3, 64, 64), dtype=np.uint8)
    y, x = np.mgrid[:64, :64]
    for i in range(n):
        for kind in (YES, NO) * 4:
            cx, cy = rng.integers(6, 58, 2)
            light = np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / SIGMA**2)
            planes[i, 3] += 12.0 * light
            if kind == YES:
                planes[i, 0] += 5.0 * light
                planes[i, 2] += 5.0 * light
                truth[i, 0][light > 0.6] = YES
            else:
                planes[i, (0, 2), cy, cx] += 40.0
    return Tiles(planes, truth)


@pytest.fixture(scope="module")
def tiles() -> tuple[Tiles, Tiles]:
    torch.set_num_threads(1)
    return draw_tiles(1, 32), draw_tiles(2, 8)


@pytest.fixture(scope="module")
def trained(tiles, tmp_path_factory) -> UNet:
    folder = tmp_path_factory.mktemp("whole")
    return train_unet(*tiles, plan=PLAN, folder=folder, progress=lambda line: None)


def test_sources_are_told_from_pixels_of_the_same_score(trained: UNet, tiles) -> None:
    torch.manual_seed(PLAN.seed)
    before = validate_unet(UNet(), tiles[1])
    after = validate_unet(trained, tiles[1])
    # untrained, it can but follow the score, which is the same for both
    assert before < 0.75
    assert after > 0.9


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(
    trained: UNet, tiles, tmp_path: Path
) -> None:
    class StoppedError(Exception):
        pass

    def stop_in_the_second(line: str) -> None:
        if "epoch 2" in line:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_unet(*tiles, plan=PLAN, folder=tmp_path, progress=stop_in_the_second)
    told: list[str] = []
    again = train_unet(*tiles, plan=PLAN, folder=tmp_path, progress=told.append)
    assert len(told) == 1
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    with pytest.raises(ValueError, match="another"):
        train_unet(tiles[1], tiles[0], plan=PLAN, folder=tmp_path, progress=told.append)


def test_unknown_pixels_do_not_count() -> None:
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    truth = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    truth[:, :, :4] = UNKNOWN
    changed = logits.clone()
    changed[:, :, :4] += 5.0
    assert torch.equal(unet_loss(logits, truth), unet_loss(changed, truth))
    changed[:, :, 4:] += 5.0
    assert unet_loss(changed, truth) > unet_loss(logits, truth)


def test_turning_moves_planes_and_truth_alike() -> None:
    planes = torch.zeros(1, 4, 8, 8)
    truth = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    planes[0, :, 1, 2], truth[0, :, 1, 2] = 1.0, YES
    exchanged = set()
    for seed in range(24):
        turned, marks = turn_tiles(planes, truth, np.random.default_rng(seed))
        assert torch.equal(turned[0, 2] != 0, marks[0, 0] == YES)
        exchanged.add(float(turned[0, 2].sum()))
    # with the frames exchanged what appeared fades
    assert exchanged == {1.0, -1.0}


def test_trails_are_seen_where_they_are_drawn() -> None:
    rng = np.random.default_rng(8)
    sky = rng.normal(100.0, 5.0, (90, 120)).astype(np.float32)
    blank = Image(data=sky, mask=np.zeros(sky.shape, dtype=np.uint16))
    image, seen = draw_trails(blank, rng, n_trails=1, fwhm=3.0)
    added = image.data - blank.data
    assert seen.any()
    # three quarters of the FWHM to either side: half of the peak is well inside
    assert (seen[added > 0.5 * added.max()] == YES).all()
    assert added[seen == NO].max() < 0.3 * added.max()


def test_tiles_lie_side_by_side() -> None:
    planes = np.arange(4 * 260 * 300, dtype=np.float32).reshape(4, 260, 300)
    truth = np.zeros((3, 260, 300), dtype=np.uint8)
    tiles = cut_tiles(Scene(planes, truth))
    assert tiles.planes.shape == (4, 4, 128, 128)
    assert np.array_equal(tiles.planes[3], planes[:, 128:256, 128:256])


def test_a_simulated_scene_shows_its_changes_where_the_truth_says(tmp_path: Path) -> None:
    scene = simulate_scene(SEED, shape=(256, 256))
    at = scene.truth[0] == YES
    score = np.abs(scene.planes[3])
    # changes are of 3.5 sigma and more at their place; elsewhere a few residuals are
    assert np.median(score[at]) > 4.0
    assert np.mean(score[scene.truth[0] == NO] > 4.0) < 0.01 * np.mean(score[at] > 4.0)
    assert np.isfinite(scene.planes[2][scene.truth[0] != UNKNOWN]).all()
    assert (scene.truth[2] == YES).any()
    maps = probability_maps(UNet().eval(), scene.planes)
    assert maps.shape == scene.truth.shape

    told: list[str] = []
    with pytest.raises(ValueError, match="holds none"):
        read_scenes(tmp_path, [1])
    np.savez(tmp_path / "scene-000001.npz", **vars(cut_tiles(scene)))
    write_scenes(tmp_path, [1], progress=told.append)
    assert told == []
    assert len(read_scenes(tmp_path, [1, 2])) == 4
