"""Listed data sets: quality with reasons, groups on one side, no picture twice, one digest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection.training.cutout_quality import QualityRules, judge_cutouts
from detection.training.dataset_groups import (
    choose_splits,
    group_and_split,
    refuse_shared_keys,
)
from detection.training.dataset_manifest import (
    assemble,
    differences,
    refuse_leakage,
    write_dataset,
)
from detection.training.dataset_sources import night_of, read_npz, simulated_cutouts
from detection.training.enough_labels import problems
from detection.training.labelled_cutouts import LabelledCutouts, Sample, join_cutouts
from detection.training.near_duplicates import near_duplicates
from detection.training.triplet_dataset import load_dataset, read_manifest, split_by_group

RULES = QualityRules()


def silent(share: float, words: str) -> None:
    """Nobody listens."""


def draw_triplets(n: int, *, seed: int = 1) -> np.ndarray:
    """Points in noise, in units of 40 counts on a sky of 300."""
    rng = np.random.default_rng(seed)
    triplets = rng.normal(0.0, 1.0, (n, 63, 63, 3))
    y, x = np.mgrid[:63, :63] - 31
    source = 15.0 * np.exp(-0.5 * (x**2 + y**2) / 1.6**2)
    triplets[..., 0] += source
    triplets[..., 2] += source
    return (300.0 + 40.0 * triplets).astype(np.float32)


def make_samples(n: int, **fields: Any) -> list[Sample]:
    """Samples of one object each, real and bogus in turn, a field and a night apart."""
    return [
        Sample(
            key=f"npz:x:{i:04d}",
            source="npz",
            survey="s",
            is_real=i % 2 == 0,
            kind="transient" if i % 2 == 0 else "dipole",
            **{"owner": f"o{i}", "ra": 3.0 * i, "dec": 0.0, "night": f"s {i}"} | fields,
        )
        for i in range(n)
    ]


def make_set(n: int = 40, **fields: Any) -> LabelledCutouts:
    return LabelledCutouts(make_samples(n, **fields), draw_triplets(n))


def reasons_of(triplet: np.ndarray, rules: QualityRules = RULES) -> list[str]:
    return judge_cutouts(triplet[None], rules)[0]


def test_a_good_cutout_keeps_every_rule_in_any_unit_and_without_its_template() -> None:
    (triplet,) = draw_triplets(1)
    assert reasons_of(triplet) == []
    assert reasons_of(1e-6 * triplet - 5.0) == []
    triplet[..., 1] = np.nan
    assert reasons_of(triplet) == []


def test_a_bright_star_beside_it_is_no_reason_to_leave_a_cutout_out() -> None:
    (triplet,) = draw_triplets(1)
    y, x = np.mgrid[:63, :63]
    triplet[..., 0] += 2e5 * np.exp(-0.5 * ((x - 12) ** 2 + (y - 12) ** 2) / 2.0**2)
    assert reasons_of(triplet) == []


def test_what_is_constant_void_blank_or_banded_is_left_out_with_its_number() -> None:
    y, x = np.mgrid[:63, :63]
    for change, words in (
        (lambda t: np.full_like(t, 7.0), "science: standard deviation 0.00 < 0.02"),
        (lambda t: np.where((x < 30)[..., None], np.nan, t), "science: near-black share 0.4"),
        (
            lambda t: np.where((np.hypot(x - 31, y - 31) < 6)[..., None], np.nan, t),
            "science: blank share of the middle",
        ),
        (lambda t: t + (40.0 * x)[..., None], "science: gradient in standard deviations"),
    ):
        (triplet,) = draw_triplets(1)
        found = reasons_of(change(triplet).astype(np.float32))
        assert any(reason.startswith(words) for reason in found), (words, found)


def test_the_limits_are_what_they_are_set_to() -> None:
    (triplet,) = draw_triplets(1)
    triplet[:, :20] = np.nan
    assert reasons_of(triplet) == []
    found = reasons_of(triplet, replace(RULES, max_near_black=0.3))
    assert found[0].startswith("science: near-black share 0.3")


def test_one_picture_is_found_in_other_units_turned_in_sign_and_shifted() -> None:
    triplets = draw_triplets(6)
    twin = 3.0 * triplets[1] + 100.0
    twin[..., 2] = -triplets[1, ..., 2]
    shifted = np.roll(triplets[2], (1, -1), axis=(0, 1))
    found = near_duplicates(np.concatenate([triplets, [twin, shifted]]))
    assert found == [(1, 6), (2, 7)]


def test_different_pictures_of_equal_sources_are_not_taken_for_one() -> None:
    assert near_duplicates(draw_triplets(60)) == []


def test_objects_sky_cells_and_nights_stay_together() -> None:
    apart = make_samples(40)
    same_object = [replace(s, owner=f"o{i // 2}") for i, s in enumerate(apart)]
    same_cell = [replace(s, ra=3.0 * (i // 2) + 0.0001 * i) for i, s in enumerate(apart)]
    same_night = [replace(s, night=f"s {i // 2}") for i, s in enumerate(apart)]
    assert len(group_and_split(apart).split) == 40
    for samples in (same_object, same_cell, same_night):
        found = group_and_split(samples)
        assert len(found.split) == 20
        assert [found.names[i] for i in range(0, 40, 2)] == found.names[1::2]
        assert found.keys == ("object", "sky cell", "night")


def test_nights_that_join_everything_are_let_go_and_that_is_said() -> None:
    joined = make_samples(40, night="s 1")
    found = group_and_split(joined)
    assert found.keys == ("object", "sky cell")
    assert "into 1 group, too few" in found.note
    assert len(set(found.split.values())) == 3
    strict = group_and_split(joined, is_strict=True)
    assert (len(strict.split), strict.note) == (1, "")


def test_a_group_keeps_its_side_when_others_come() -> None:
    few, many = make_samples(200), make_samples(260)
    first, second = group_and_split(few), group_and_split(many)
    assert all(second.split[name] == side for name, side in first.split.items())


def test_the_cuts_move_until_every_side_holds_both_classes() -> None:
    names = [f"g{i}" for i in range(24)]
    split, (first, second) = choose_splits(names, [i % 2 == 0 for i in range(24)])
    held = {(split[name], i % 2) for i, name in enumerate(names)}
    assert len(held) == 6
    assert first <= 0.75
    assert second <= 0.87


@pytest.mark.parametrize("key", ["owner", "night", "group", "ra"])
def test_a_group_on_two_sides_fails_the_build(key: str) -> None:
    samples = make_samples(2)
    shared = {"owner": "one", "night": "s 7", "group": "g", "ra": 9.0}[key]
    samples = [replace(sample, **{key: shared}) for sample in samples]
    keys = ("object", "sky cell", "night")
    with pytest.raises(ValueError, match="leakage"):
        refuse_shared_keys(samples, ["train", "test"], keys=keys)
    refuse_shared_keys(samples, ["test", "test"], keys=keys)


def test_one_picture_on_two_sides_fails_the_build() -> None:
    samples = make_samples(2)
    sides = ["train", "validation"]
    with pytest.raises(ValueError, match="pixels abc are in train and in validation"):
        refuse_leakage(samples, sides, ["abc", "abc"], same=[], keys=())
    with pytest.raises(ValueError, match="one picture is in train"):
        refuse_leakage(samples, sides, ["abc", "xyz"], same=[(0, 1)], keys=())


def test_pictures_that_are_there_twice_lie_on_one_side() -> None:
    cutouts = make_set(40)
    cutouts.triplets[1::2] = 2.0 * cutouts.triplets[::2]
    found = assemble(cutouts, rules=RULES, progress=silent)
    rows = found.manifest["samples"]
    assert len({row["group"] for row in rows}) == 20
    assert all(a["split"] == b["split"] for a, b in zip(rows[::2], rows[1::2], strict=True))


def test_the_same_pixels_are_kept_once_and_with_two_labels_not_at_all() -> None:
    cutouts = make_set(12)
    cutouts.triplets[2] = cutouts.triplets[0]
    cutouts.triplets[5] = cutouts.triplets[4]
    manifest = assemble(cutouts, rules=RULES, progress=silent).manifest
    assert [(row["key"][-2:], row["reasons"]) for row in manifest["left_out"]] == [
        ("02", ["same pixels as npz:x:0000"]),
        ("04", ["same pixels with the other label as npz:x:0005"]),
        ("05", ["same pixels with the other label as npz:x:0004"]),
    ]
    assert manifest["counts"]["reasons"] == {
        "same pixels": 1,
        "same pixels with the other label": 2,
    }


def test_the_same_inputs_have_the_same_digest_and_any_other_input_another() -> None:
    first = assemble(make_set(), rules=RULES, progress=silent)
    cutouts = make_set()
    halves = [
        LabelledCutouts(cutouts.samples[rows], cutouts.triplets[rows])
        for rows in (slice(20, 40), slice(0, 20))
    ]
    again = assemble(join_cutouts(halves), rules=RULES, progress=silent)
    assert json.dumps(first.manifest) == json.dumps(again.manifest)
    other = make_set()
    other.triplets[3, 0, 0, 0] += 1.0
    for changed in (
        assemble(other, rules=RULES, progress=silent),
        assemble(make_set(labelled_by="admin"), rules=RULES, progress=silent),
        assemble(make_set(), rules=replace(RULES, max_near_black=0.39), progress=silent),
    ):
        assert changed.digest != first.digest


def test_what_is_written_is_loaded_with_the_sides_that_the_manifest_lists(tmp_path: Path) -> None:
    made = assemble(make_set(), rules=RULES, progress=silent)
    write_dataset(tmp_path, made, about={"name": "n"})
    manifest = read_manifest(tmp_path)
    assert manifest["sha256"] == made.digest
    parts = split_by_group(load_dataset(tmp_path), named=manifest["groups"])
    for side, told in manifest["counts"]["splits"].items():
        assert int(parts[side].is_real.sum()) == told["real"]
        assert len(parts[side]) == told["real"] + told["bogus"]


def test_two_versions_are_told_apart_sample_by_sample() -> None:
    before = assemble(make_set(), rules=RULES, progress=silent).manifest["samples"]
    after = [dict(row) for row in before[1:]]
    after[0]["is_real"] = not after[0]["is_real"]
    found = differences(after, before)
    assert found["removed"] == {"n": 1, "keys": [before[0]["key"]]}
    assert found["relabelled"]["keys"] == [before[1]["key"]]
    assert found["added"]["n"] == found["other_pixels"]["n"] == found["other_side"]["n"] == 0


def test_simulated_skies_are_no_labels_that_a_training_may_rest_on() -> None:
    skies = simulated_cutouts(3, seed=0, progress=silent)
    counts = assemble(skies, rules=RULES, progress=silent).manifest["counts"]
    assert counts["n_real"] > 20
    assert "0 labels say real; 20 are needed" in problems(counts)


def test_an_npz_says_what_belongs_together_or_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    arrays = {"triplets": draw_triplets(4), "label": np.array(["real", "bogus", "x", "real"])}
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="group or objectId"):
        read_npz(path)
    np.savez(path, **arrays, objectId=np.array(["a", "a", "b", "c"]), mjd=np.arange(4.0))
    found = read_npz(path)
    assert [(s.owner, s.is_real, s.night) for s in found.samples] == [
        ("a", True, "NPZ -1"),
        ("a", False, "NPZ 0"),
        ("c", True, "NPZ 2"),
    ]
    assert found.unlabelled == {"neither real nor bogus in the file": 1}


def test_a_night_begins_at_noon_by_the_sun() -> None:
    evening, morning = 61000.99, 61001.4
    assert night_of("s", evening) == night_of("s", morning)
    assert night_of("s", 61001.55) != night_of("s", morning)
    # 150 degrees east noon is at 2 h UTC: one night there is 61001.3 to 61001.9
    assert night_of("s", 61001.3, longitude_deg=150.0) == night_of(
        "s", 61001.9, longitude_deg=150.0
    )
