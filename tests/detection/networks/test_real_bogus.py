"""What the real-bogus network promises whatever its weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from detection.networks.real_bogus import (
    RealBogusEnsemble,
    RealBogusNetwork,
    orient,
    score_in_order,
)
from detection.networks.real_bogus_input import FIELD, SIZE, is_usable, normalise, to_channels
from detection.networks.real_bogus_weights import (
    WEIGHTS_FILE,
    load_ensemble,
    load_members,
    read_record,
    save_ensemble,
)


def draw_triplets(seed: int, n: int = 6) -> np.ndarray:
    """Noise on sky levels with a source in the middle of science and difference."""
    rng = np.random.default_rng(seed)
    triplets = rng.normal(0.0, 1.0, (n, SIZE, SIZE, 3)) * [10.0, 6.0, 11.0] + [900.0, 700.0, 0.0]
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    source = 150.0 * np.exp(-0.5 * (x**2 + y**2) / 1.6**2)
    triplets[..., 0] += source
    triplets[..., 2] += source
    return triplets.astype(np.float32)


def seeded_members(n: int) -> list[RealBogusNetwork]:
    """Networks with random weights and normalisations that are not the identity."""
    torch.manual_seed(5)
    members = [RealBogusNetwork().eval() for _ in range(n)]
    for member in members:
        for name, tensor in member.state_dict().items():
            if "running" in name:
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    return members


def normalised(triplets: np.ndarray) -> np.ndarray:
    return normalise(torch.from_numpy(triplets)).numpy()


def test_unit_and_background_of_all_planes_do_not_matter() -> None:
    triplets = draw_triplets(1)
    other = triplets * np.float32(0.037) + np.array([50.0, -3.0, 7.0], np.float32)
    # float32 counts near 900 carry 6e-5 of rounding, a thousandth of what is asked for
    np.testing.assert_allclose(normalised(other), normalised(triplets), atol=2e-3)


def test_science_and_template_keep_their_relative_brightness() -> None:
    triplets = draw_triplets(2)
    triplets[..., 1] = 2.0 * triplets[..., 0]
    planes = normalised(triplets)
    np.testing.assert_allclose(np.sinh(planes[:, 1]), 2 * np.sinh(planes[:, 0]), atol=1e-3)


def test_a_template_in_quite_another_unit_gets_its_own() -> None:
    triplets = draw_triplets(3)
    triplets[..., 1] *= 1e6
    width = np.std(normalised(triplets)[:, 1])
    # asinh of unit noise has a width of 0.77
    assert 0.6 < width < 0.95


def test_the_sign_convention_of_the_difference_does_not_matter() -> None:
    triplets = draw_triplets(4)
    flipped = triplets * np.array([1, 1, -1], np.float32)
    # the lower of two middle values is the median: of 1,024 they are 0.002 sigma apart
    np.testing.assert_allclose(normalised(flipped), normalised(triplets), atol=0.02)
    assert (normalised(triplets)[:, 2, SIZE // 2, SIZE // 2] > 0).all()


@pytest.mark.parametrize("filling", [0.0, np.nan, -3.4e38, np.inf])
def test_padding_of_any_kind_is_missing(filling: float) -> None:
    triplets = draw_triplets(5)
    triplets[:, :9] = filling
    planes = normalised(triplets)
    assert np.isnan(planes[:, :, :9]).all()
    assert np.isfinite(planes[:, :, 9:]).all()


@pytest.mark.parametrize("filling", [0.0, 250.0])
def test_a_frame_of_one_value_is_missing_on_all_sides(filling: float) -> None:
    triplets = np.full((2, SIZE, SIZE, 3), filling, np.float32)
    triplets[:, 16:47, 16:47] = draw_triplets(17, n=2)[:, 16:47, 16:47]
    present = np.isfinite(normalised(triplets))
    assert present[:, :, 16:47, 16:47].all()
    assert present.sum() == 2 * 3 * 31 * 31


def test_channels_hold_the_middle_and_say_where_pixels_are() -> None:
    planes = normalise(torch.from_numpy(draw_triplets(6)))
    planes[:, 1, 31, 31] = torch.nan
    channels = to_channels(planes)
    assert channels.shape == (6, 6, FIELD, FIELD)
    assert channels.isfinite().all()
    middle = FIELD // 2
    assert channels[0, 1, middle, middle] == 0
    assert channels[0, 4, middle, middle] == 0
    assert channels[0, 3, middle, middle] == 1
    assert channels[0, 0, middle, middle] == planes[0, 0, 31, 31]


def test_what_shows_nothing_has_no_score_and_does_not_disturb_others() -> None:
    triplets = draw_triplets(7)
    empty = triplets.copy()
    empty[1], empty[3] = np.nan, 0.0
    empty[4, ..., 1] = np.nan
    ensemble = RealBogusEnsemble(seeded_members(4))
    scores, without = ensemble.score(triplets), ensemble.score(empty)
    assert np.flatnonzero(np.isnan(without.score)).tolist() == [1, 3]
    assert np.flatnonzero(np.isnan(without.score_error)).tolist() == [1, 3]
    np.testing.assert_allclose(without.score[[0, 2, 5]], scores.score[[0, 2, 5]], atol=1e-6)
    planes = normalise(torch.from_numpy(empty))
    assert is_usable(planes).tolist() == [True, False, True, False, True, True]


def test_one_member_scores_all_orientations_alike() -> None:
    triplets = draw_triplets(8)
    ensemble = RealBogusEnsemble(seeded_members(1))
    score = ensemble.score(triplets).score
    for turned in (np.rot90(triplets, axes=(1, 2)), triplets[:, ::-1], triplets[:, :, ::-1]):
        np.testing.assert_allclose(ensemble.score(turned.copy()).score, score, atol=1e-5)
    assert np.ptp(score) > 0


@pytest.mark.parametrize("view", range(8))
def test_turning_the_kernels_is_turning_the_picture(view: int) -> None:
    (member,) = seeded_members(1)
    channels = to_channels(normalise(torch.from_numpy(draw_triplets(15))))
    with torch.inference_mode():
        torch.testing.assert_close(
            member.turned(view)(channels), member(orient(channels, view)), atol=1e-4, rtol=0
        )


def test_batches_come_back_in_order_from_several_threads() -> None:
    triplets = draw_triplets(16, n=90)
    ensemble = RealBogusEnsemble(seeded_members(2))
    parts = (triplets[first : first + 8] for first in range(0, 90, 8))
    scores = list(score_in_order(ensemble, parts, n_threads=3))
    assert [len(part) for part in scores] == [8] * 11 + [2]
    together = np.concatenate([part.score for part in scores])
    # other batch sizes sum in another order
    np.testing.assert_allclose(together, ensemble.score(triplets).score, atol=1e-5)


def test_folding_the_normalisation_leaves_the_function_as_it_is() -> None:
    (member,) = seeded_members(1)
    channels = to_channels(normalise(torch.from_numpy(draw_triplets(9))))
    with torch.inference_mode():
        torch.testing.assert_close(member.fused()(channels), member(channels), atol=1e-4, rtol=0)


def test_scores_are_probabilities_with_the_spread_of_the_members() -> None:
    triplets = draw_triplets(10, n=300)
    ensemble = RealBogusEnsemble(seeded_members(4), temperature=0.5, offset=0.1)
    scores = ensemble.score(triplets)
    assert len(scores) == 300
    assert ((scores.score > 0) & (scores.score < 1)).all()
    logits = ensemble.logits(normalise(torch.from_numpy(triplets))).double()
    expected = torch.sigmoid((logits - 0.1) / 0.5).std(dim=0).numpy()
    np.testing.assert_allclose(scores.score_error, expected, atol=1e-5)


def test_no_triplets_have_no_scores() -> None:
    assert len(RealBogusEnsemble(seeded_members(1)).score(draw_triplets(1, n=0))) == 0


@pytest.mark.parametrize("shape", [(2, 61, 61, 3), (2, 3, 63, 63), (63, 63, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="triplets"):
        RealBogusEnsemble(seeded_members(1)).score(np.zeros(shape, np.float32))


def test_an_ensemble_needs_members_and_a_temperature() -> None:
    with pytest.raises(ValueError, match="members"):
        RealBogusEnsemble([])
    with pytest.raises(ValueError, match="temperature"):
        RealBogusEnsemble(seeded_members(1), temperature=0.0)


def test_weights_come_back_as_they_were_saved(tmp_path: Path) -> None:
    members, path = seeded_members(2), tmp_path / "some.safetensors"
    save_ensemble(members, path, temperature=1.5, offset=-0.2, record={"seed": 5})
    triplets = draw_triplets(11)
    saved = RealBogusEnsemble(members, temperature=1.5, offset=-0.2).score(triplets)
    np.testing.assert_array_equal(load_ensemble(path).score(triplets).score, saved.score)
    assert read_record(path)["record"] == {"seed": 5}
    assert len(load_members(path)) == 2


def test_weights_that_were_changed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    save_ensemble(seeded_members(1), path, temperature=1.0, offset=0.0, record={})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="SHA-256"):
        load_ensemble(path)


def test_absent_weights_and_other_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    with pytest.raises(FileNotFoundError, match="train_network"):
        load_ensemble(path)
    save_ensemble(seeded_members(1), path, temperature=1.0, offset=0.0, record={})
    about = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**about, "format": "other"}))
    with pytest.raises(ValueError, match="format"):
        load_ensemble(path)


def test_the_shipped_weights_are_whole_and_small() -> None:
    assert WEIGHTS_FILE.stat().st_size < 1_500_000
    assert len(load_ensemble().members) == read_record()["n_members"]


def test_the_shipped_network_tells_a_source_from_a_cosmic_ray_and_a_dipole() -> None:
    source, ray, dipole = draw_triplets(12, n=40), draw_triplets(13, 40), draw_triplets(14, 40)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    profile = 150.0 * np.exp(-0.5 * (x**2 + y**2) / 1.6**2)
    spike = np.zeros((SIZE, SIZE))
    spike[31, 31], spike[31, 32], spike[32, 32] = 900.0, 500.0, 300.0
    for plane in (0, 2):
        ray[..., plane] += (spike - profile).astype(np.float32)
    star = 40.0 * profile
    slope = np.gradient(star, axis=1) * 0.15
    dipole[..., 0] += (star - profile).astype(np.float32)
    dipole[..., 1] += star.astype(np.float32)
    dipole[..., 2] += (np.roll(slope, 2, axis=1) - profile).astype(np.float32)
    ensemble = load_ensemble()
    real, *bogus = (float(np.median(ensemble.score(t).score)) for t in (source, ray, dipole))
    assert real > 0.8
    assert max(bogus) < 0.2
