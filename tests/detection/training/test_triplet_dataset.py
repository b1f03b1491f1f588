"""Data sets of triplets: named by content, split by group, and no leakage between the splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detection.training.triplet_dataset import (
    KEPT,
    Prepared,
    fold_of,
    load_dataset,
    prepare,
    refuse_leakage,
    split_by_group,
    split_of,
    write_manifest,
)
from detection.training.triplet_samples import TripletSamples, join_samples


def draw_samples(seed: int, n: int = 12, *, survey: str = "a", n_groups: int = 4) -> TripletSamples:
    rng = np.random.default_rng(seed)
    return TripletSamples(
        triplets=rng.normal(0.0, 1.0, (n, 63, 63, 3)).astype(np.float32),
        is_real=np.arange(n) % 2 == 0,
        kind=np.array(["transient", "dipole"] * (n // 2), "U32"),
        group=np.array([f"{survey}-{seed}-{i % n_groups}" for i in range(n)], "U64"),
        survey=np.array([survey] * n, "U32"),
        snr=np.full(n, 9.0),
    )


def changed(samples: TripletSamples, **values: np.ndarray) -> Prepared:
    return prepare(TripletSamples(**{**vars(samples), **values}))


def write_dataset(folder: Path, seeds: list[int]) -> str:
    folder.mkdir()
    for seed in seeds:
        draw_samples(seed, survey="ab"[seed % 2]).save(folder / f"shard-{seed}.npz")
    return str(write_manifest(folder, provenance={"seeds": seeds})["sha256"])


def test_samples_survive_saving_and_loading(tmp_path: Path) -> None:
    samples = draw_samples(1)
    samples.save(tmp_path / "s.npz")
    loaded = TripletSamples.load(tmp_path / "s.npz")
    for name, values in vars(samples).items():
        np.testing.assert_array_equal(getattr(loaded, name), values)


def test_rows_that_do_not_belong_together_are_refused() -> None:
    samples = draw_samples(1)
    with pytest.raises(ValueError, match="do not belong together"):
        TripletSamples(**{**vars(samples), "snr": np.zeros(3)})


def test_equal_data_have_equal_names_and_other_data_others(tmp_path: Path) -> None:
    first = write_dataset(tmp_path / "one", [1, 2])
    assert write_dataset(tmp_path / "two", [1, 2]) == first
    assert write_dataset(tmp_path / "three", [1, 3]) != first


def test_a_dataset_comes_back_whole_or_by_survey(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", [1, 2])
    whole = load_dataset(tmp_path / "d")
    assert len(whole) == 24
    assert whole.planes.shape == (24, 3, KEPT, KEPT)
    only = load_dataset(tmp_path / "d", surveys=["a"])
    assert set(only.survey) == {"a"}
    assert len(only) == 12
    with pytest.raises(ValueError, match="no samples"):
        load_dataset(tmp_path / "d", surveys=["c"])


def test_a_shard_that_changed_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", [1, 2])
    draw_samples(7).save(tmp_path / "d" / "shard-1.npz")
    with pytest.raises(ValueError, match="not the file"):
        load_dataset(tmp_path / "d")


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="build_triplets"):
        load_dataset(tmp_path)


def test_splits_share_no_group_and_lose_no_sample() -> None:
    samples = prepare(join_samples([draw_samples(seed) for seed in range(12)]))
    parts = split_by_group(samples)
    assert sum(len(part) for part in parts.values()) == len(samples)
    groups = [set(part.group) for part in parts.values()]
    assert not groups[0] & groups[1]
    assert not groups[2] & (groups[0] | groups[1])
    # three quarters of 48 groups, give or take the hash
    assert 28 <= len(groups[0]) <= 44


def test_a_group_keeps_its_split_and_its_fold_for_ever() -> None:
    assert [split_of(f"engine-{i}") for i in range(5000, 5004)] == [
        split_of(f"engine-{i}") for i in range(5000, 5004)
    ]
    folds = np.bincount([fold_of(f"ZTF-{i}", 5) for i in range(2000)], minlength=5)
    # binomial: 400 +- 18 each
    assert (np.abs(folds - 400) < 5 * 18).all()


def test_the_same_pixels_in_two_splits_are_leakage_whatever_their_group() -> None:
    train, other = draw_samples(1), draw_samples(2)
    parts = {"train": prepare(train), "test": prepare(other)}
    refuse_leakage(parts)
    copied = other.triplets.copy()
    copied[5] = train.triplets[3]
    with pytest.raises(ValueError, match="leakage: digest"):
        refuse_leakage(
            {**parts, "test": prepare(TripletSamples(**{**vars(other), "triplets": copied}))}
        )
    group = other.group.copy()
    group[0] = train.group[0]
    with pytest.raises(ValueError, match="leakage: group"):
        refuse_leakage(
            {**parts, "test": prepare(TripletSamples(**{**vars(other), "group": group}))}
        )
