"""`manage.py train_network` and `evaluate_network`: from a data set to weights and a model card."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from detection.networks.real_bogus_weights import load_ensemble, read_record, report_path
from detection.training.real_triplets import SURVEY_SCORE
from detection.training.triplet_builder import ALERTS
from detection.training.triplet_dataset import write_manifest
from detection.training.triplet_samples import TripletSamples


def draw_samples(seed: int, n: int, *, survey: str, kinds: tuple[str, str]) -> TripletSamples:
    """Points that are real and sharp pixels that are not; a group for each four."""
    rng = np.random.default_rng(seed)
    triplets = rng.normal(0.0, 1.0, (n, 63, 63, 3))
    y, x = np.mgrid[:63, :63] - 31
    is_real = np.arange(n) % 2 == 0
    for plane in (0, 2):
        triplets[is_real, ..., plane] += 12.0 * np.exp(-0.5 * (x**2 + y**2) / 1.7**2)
        triplets[~is_real, 31, 31, plane] += 60.0
    kind = np.where(is_real, *kinds).astype("U32")
    if survey == ALERTS:
        kind[:8:2] = SURVEY_SCORE
    return TripletSamples(
        triplets=triplets.astype(np.float32),
        is_real=is_real,
        kind=kind,
        group=np.array([f"{survey}-{i // 4}" for i in range(n)], "U64"),
        survey=np.array([survey] * n, "U32"),
        snr=np.full(n, 20.0),
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    draw_samples(1, 240, survey="light", kinds=("transient", "cosmic ray")).save(folder / "a.npz")
    draw_samples(2, 40, survey=ALERTS, kinds=("asteroid", "bogus: clear")).save(folder / "b.npz")
    write_manifest(folder, provenance={})
    return folder


def run(name: str, *args: object, **options: object) -> str:
    said = io.StringIO()
    call_command(name, *args, stdout=said, stderr=io.StringIO(), **options)
    return said.getvalue()


def test_weights_and_a_card_come_out_and_say_where_they_come_from(
    dataset: Path, tmp_path: Path
) -> None:
    weights, work = tmp_path / "w.safetensors", tmp_path / "work"
    options = {"dataset": dataset, "work": work}
    said = run(
        "train_network",
        "real_bogus",
        output=weights,
        epochs=8,
        alert_epochs=1,
        members=1,
        **options,
    )
    record = read_record(weights)
    assert record["sha256"][:12] in said
    assert record["record"]["n_alerts"] == 40
    assert read_record(work / "simulated_only.safetensors")["record"]["n_alerts"] == 0
    assert len(load_ensemble(weights).members) == 1
    history = json.loads((work / "first" / "member0.json").read_text())["history"]
    assert [row["epoch"] for row in history] == list(range(1, len(history) + 1))

    run("evaluate_network", "real_bogus", weights=weights, output=tmp_path / "card", **options)
    report = json.loads(report_path(weights).read_text())
    assert report["weights_sha256"] == record["sha256"]
    for part in (report["unseen_survey"], report["grouped_folds"]):
        assert part["gold"]["n_real"] == 16
        assert part["gold"]["n_bogus"] == 20
        assert part["kinds"][SURVEY_SCORE]["n"] == 4
    assert report["grouped_folds"]["gold"]["n_without_score"] == 0
    assert set(report["simulated"]["baselines"]) == {"snr", "sharpness", "dipole"}
    # a pixel is sharper than a point: the baseline knows, so that its sign is right
    assert report["simulated"]["baselines"]["sharpness"]["roc_auc"]["value"] > 0.9
    card = (tmp_path / "card" / "real_bogus.md").read_text()
    auc = report["grouped_folds"]["gold"]["roc_auc"]["value"]
    assert f"{auc:.3f}" in card
    assert record["sha256"] in card


def test_what_cannot_be_trained_is_said(dataset: Path, tmp_path: Path) -> None:
    options = {"work": tmp_path / "work", "output": tmp_path / "w.safetensors"}
    with pytest.raises(CommandError, match="build_triplets"):
        run("train_network", "real_bogus", dataset=tmp_path, **options)
    with pytest.raises(CommandError, match="--epochs"):
        run("train_network", "real_bogus", dataset=dataset, epochs=0, **options)
    with pytest.raises(CommandError, match="train_network"):
        run(
            "evaluate_network",
            "real_bogus",
            dataset=dataset,
            work=tmp_path,
            weights=tmp_path / "none.safetensors",
            output=tmp_path,
        )


def test_a_data_set_is_built_once_and_gone_on_with(tmp_path: Path) -> None:
    options = {"output": tmp_path / "d", "light_skies": 2, "engine_pairs": 0, "without_real": True}
    first = run("build_triplets", **options)
    shard = tmp_path / "d" / "light-0000.npz"
    written = shard.stat().st_mtime_ns
    assert run("build_triplets", **options) == first
    assert shard.stat().st_mtime_ns == written
    manifest = json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert manifest["provenance"]["plan"]["n_light_skies"] == 2
    assert manifest["shards"][0]["n_real"] > 15


def test_real_data_must_be_named_or_left_out(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--without-real"):
        run("build_triplets", output=tmp_path / "d", test_data=tmp_path / "nowhere")
    with pytest.raises(CommandError, match="negative"):
        run("build_triplets", output=tmp_path / "d", light_skies=-1, without_real=True)


@pytest.mark.real_data
def test_real_alerts_are_grouped_by_object_and_sky_and_unknown_ones_left_out(
    test_data: Path,
) -> None:
    from detection.training.real_triplets import read_labelled_alerts

    samples = read_labelled_alerts(test_data / "ztf_alerts_dev", survey=ALERTS)
    assert len(samples) == 576
    assert int(samples.is_real.sum()) == 472
    assert int((samples.kind == SURVEY_SCORE).sum()) == 260
    assert int((samples.kind == "asteroid").sum()) == 200
    # 576 alerts of 558 objects, many of them asteroids in cutouts that overlap
    assert len(set(samples.group)) == 455
