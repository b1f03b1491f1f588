"""Training learns, is deterministic, and goes on after a kill as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detection.networks.real_bogus import RealBogusNetwork
from detection.networks.real_bogus_weights import read_record, save_ensemble
from detection.training.metrics import roc_auc
from detection.training.real_bogus_augment import take_away_planes
from detection.training.real_bogus_ensemble import (
    EnsemblePlan,
    calibrate,
    make_plan,
    member_logits,
    probabilities,
    train_on_alerts,
)
from detection.training.real_bogus_training import (
    TrainingConfig,
    class_weights,
    score_member,
    train_member,
)
from detection.training.triplet_dataset import Prepared, prepare
from detection.training.triplet_samples import TripletSamples

CONFIG = TrainingConfig(epochs=4, batch=32, learning_rate=3e-3)


def draw_prepared(seed: int, n: int = 160) -> Prepared:
    """Points that are real and sharp pixels that are not."""
    rng = np.random.default_rng(seed)
    triplets = rng.normal(0.0, 1.0, (n, 63, 63, 3))
    y, x = np.mgrid[:63, :63] - 31
    is_real = np.arange(n) % 2 == 0
    source = 12.0 * np.exp(-0.5 * (x**2 + y**2) / 1.7**2)
    for plane in (0, 2):
        triplets[is_real, ..., plane] += source
        triplets[~is_real, 31, 31, plane] += 60.0
    return prepare(
        TripletSamples(
            triplets=triplets.astype(np.float32),
            is_real=is_real,
            kind=np.array(["transient", "cosmic ray"] * (n // 2), "U32"),
            group=np.array([f"{seed}-{i}" for i in range(n)], "U64"),
            survey=np.array(["a"] * n, "U32"),
            snr=np.full(n, 20.0),
        )
    )


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in one order: what determinism is promised for."""
    torch.set_num_threads(1)


def silent(line: str) -> None:
    """Drop progress."""


def test_training_learns_to_tell_points_from_pixels(tmp_path: Path) -> None:
    network = train_member(
        draw_prepared(1, 320),
        draw_prepared(2),
        member=0,
        config=replace(CONFIG, epochs=6),
        folder=tmp_path,
        progress=silent,
    )
    held_out = draw_prepared(3)
    logits = score_member(network, held_out)
    assert logits[held_out.is_real].min() > np.median(logits[~held_out.is_real])
    assert logits[~held_out.is_real].max() < np.median(logits[held_out.is_real])


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    training, validation = draw_prepared(1), draw_prepared(2)
    told: list[str] = []

    def stop_after_two(line: str) -> None:
        told.append(line)
        if len(told) == 2:
            raise KeyboardInterrupt

    def train(folder: Path, progress: object) -> dict[str, torch.Tensor]:
        network = train_member(
            training, validation, member=1, config=CONFIG, folder=folder, progress=progress
        )
        return network.state_dict()

    whole = train(tmp_path / "whole", silent)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", stop_after_two)
    parts = train(tmp_path / "parts", told.append)
    assert len(told) == CONFIG.epochs
    for name, tensor in whole.items():
        assert torch.equal(parts[name], tensor), name


def test_a_killed_process_leaves_a_checkpoint_that_goes_on(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        import torch
        from tests.detection.training.test_real_bogus_training import CONFIG, draw_prepared
        from detection.training.real_bogus_training import train_member

        torch.set_num_threads(1)

        def kill_in_the_second(line):
            if "epoch 2" in line:
                os.kill(os.getpid(), signal.SIGKILL)

        train_member(draw_prepared(1), draw_prepared(2), member=0, config=CONFIG,
                     folder=Path(sys.argv[1]), progress=kill_in_the_second)
        """
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=200,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    told: list[str] = []
    training, validation = draw_prepared(1), draw_prepared(2)
    network = train_member(
        training, validation, member=0, config=CONFIG, folder=tmp_path, progress=told.append
    )
    assert [line.split(":")[0] for line in told] == ["member 0, epoch 3", "member 0, epoch 4"]
    whole = train_member(
        training, validation, member=0, config=CONFIG, folder=tmp_path / "w", progress=silent
    )
    for name, tensor in whole.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


def test_whole_planes_are_taken_away_and_a_template_alone_is_in_its_own_noise() -> None:
    planes = torch.from_numpy(draw_prepared(1, 800).planes).float()
    # a template of a tenth of the science noise, as science and template share one unit
    planes[:, 1] = torch.asinh(0.1 * torch.sinh(planes[:, 1]))
    changed = planes.clone()
    take_away_planes(changed, np.random.default_rng(3))
    gone = changed.isnan().all(dim=(2, 3)).numpy()
    assert not gone.all(axis=1).any()
    assert not (gone[:, 0] & gone[:, 2]).any()
    # of 800, a twentieth each and a few of both: five sigma are 31
    assert gone.sum(axis=0) == pytest.approx([64, 80, 48], abs=40)
    alone = gone[:, 0] & ~gone[:, 1]
    assert torch.sinh(changed[alone, 1]).std() == pytest.approx(1.0, abs=0.05)
    whole = ~gone.any(axis=1)
    assert torch.equal(changed[whole], planes[whole])


def test_a_network_tells_real_from_bogus_whichever_plane_is_missing(tmp_path: Path) -> None:
    training, test = draw_prepared(1, 320), draw_prepared(2)
    network = train_member(
        training, test, member=0, config=replace(CONFIG, epochs=8), folder=tmp_path, progress=silent
    )
    for plane in range(3):
        planes = test.planes.copy()
        planes[:, plane] = np.nan
        logits = score_member(network, replace(test, planes=planes))
        assert roc_auc(logits, test.is_real) > 0.95


def test_going_on_needs_weights_that_have_seen_no_alert(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    lengths = {"seed": 1, "epochs": 1, "alert_epochs": 1, "start": weights}
    for n_alerts in (0, 3):
        save_ensemble(
            [RealBogusNetwork()],
            weights,
            temperature=1.0,
            offset=0.0,
            record={"n_alerts": n_alerts},
        )
        if n_alerts:
            with pytest.raises(ValueError, match="no real alert"):
                make_plan(n_members=1, **lengths)
        else:
            plan = make_plan(n_members=1, **lengths)
            assert plan.start_sha256 == read_record(weights)["sha256"]
            assert plan.first.learning_rate < EnsemblePlan().first.learning_rate
            with pytest.raises(ValueError, match="need 2 members"):
                make_plan(n_members=2, **lengths)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    training, validation = draw_prepared(1), draw_prepared(2)
    short = replace(CONFIG, epochs=1)
    train_member(training, validation, member=0, config=short, folder=tmp_path, progress=silent)
    with pytest.raises(ValueError, match="another configuration"):
        train_member(
            training, validation, member=0, config=CONFIG, folder=tmp_path, progress=silent
        )


def test_classes_of_each_survey_count_alike() -> None:
    samples = draw_prepared(1, 40)
    is_real = np.arange(40) < 32
    weights = class_weights(Prepared(**{**vars(samples), "is_real": is_real}))
    assert weights[is_real].sum() == pytest.approx(weights[~is_real].sum())
    assert weights.mean() == pytest.approx(1.0)


def test_calibration_finds_the_temperature_that_was_put_in() -> None:
    rng = np.random.default_rng(6)
    logits = rng.normal(0.0, 2.0, 20_000)
    samples = draw_prepared(1, 2)
    truth = rng.random(20_000) < 1.0 / (1.0 + np.exp(-(logits - 0.3) / 1.8))
    many = Prepared(
        **{
            **vars(samples.select(np.zeros(20_000, int))),
            "is_real": truth,
        }
    )
    # the classes are weighted to count alike, which moves the offset by the log of their odds
    odds = np.log(truth.mean() / (1 - truth.mean()))
    temperature, offset = calibrate(logits, many)
    # 20 000 draws fix a logistic slope to about 2 %
    assert temperature == pytest.approx(1.8, rel=0.08)
    assert offset == pytest.approx(0.3 + 1.8 * odds, abs=0.12)
    assert probabilities(np.array([offset]), (temperature, offset))[0] == pytest.approx(0.5)


def test_going_on_with_alerts_starts_from_the_members_given(tmp_path: Path) -> None:
    parts = {"train": draw_prepared(1), "validation": draw_prepared(2)}
    first = train_member(
        parts["train"],
        parts["validation"],
        member=0,
        config=CONFIG,
        folder=tmp_path / "first",
        progress=silent,
    )
    plan = EnsemblePlan(
        second=TrainingConfig(seed=3, epochs=1, batch=32, learning_rate=1e-5), n_members=1
    )
    (second,) = train_on_alerts(
        [first],
        parts,
        [draw_prepared(4, 40)],
        plan=plan,
        folder=tmp_path / "second",
        progress=silent,
    )
    moved = member_logits([second], parts["validation"]) - member_logits(
        [first], parts["validation"]
    )
    assert 0 < np.abs(moved).mean() < 1.0
