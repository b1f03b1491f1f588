"""Go on from a network that is there with a data set of labels: few of them are enough."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detection.networks.real_bogus import one_thread
from detection.networks.real_bogus_weights import load_members, save_ensemble
from detection.training.enough_labels import problems
from detection.training.metrics import compare, curves, judge
from detection.training.real_bogus_ensemble import calibrate, member_logits, probabilities
from detection.training.real_bogus_evaluation import by_kind
from detection.training.real_bogus_training import TrainingConfig, train_member
from detection.training.triplet_dataset import (
    SPLITS,
    Prepared,
    load_dataset,
    read_manifest,
    split_by_group,
)

Json = Any
#: Gets the history so far and the number of epochs at most.
OnEpoch = Callable[[list[dict[str, Json]], int], object]

#: Of each class in validation, from which on the calibration is fitted anew.
LEAST_TO_CALIBRATE = 50
_LOGS = "member*.json"


@dataclass(frozen=True)
class TuningPlan:
    """How a network is fine-tuned.

    Attributes
    ----------
    config : TrainingConfig
        Of each member. Small steps, so that what the network knows already stays; the weights it
        begins with come out where no epoch is better.
    """

    config: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            epochs=12,
            patience=4,
            batch=32,
            learning_rate=5e-4,
            label_smoothing=0.03,
            counts_start=True,
        )
    )


def fine_tune(
    dataset: Path,
    *,
    start: Path,
    about: dict[str, Json],
    plan: TuningPlan,
    folder: Path,
    output: Path,
    on_epoch: OnEpoch,
) -> dict[str, Json]:
    """Train every member on, calibrate, judge on the test side; write ``output`` and its record.

    Parameters
    ----------
    dataset : Path
        Folder with a listed manifest.
    start : Path
        Weights to go on from.
    about : dict
        The record of those.
    plan : TuningPlan
        How.
    folder : Path
        For checkpoints; a training that was killed goes on there, with the same result.
    output : Path
        Safetensors file.
    on_epoch : callable
        Called before the first epoch and after each; what it raises stops the training.

    Returns
    -------
    dict
        The report: figures on the test side of the new weights (``held_out``), of those it began
        with (``start``), and how much better it is (``gain``, of the average precision).

    Raises
    ------
    ValueError
        If the data set holds too little, or something leaks.
    """
    manifest = read_manifest(dataset)
    if lacking := problems(manifest["counts"]):
        msg = "too little to learn from: " + "; ".join(lacking)
        raise ValueError(msg)
    with one_thread():
        parts = split_by_group(load_dataset(dataset), named=manifest["groups"])
        members = load_members(start, about=about)
        n_epochs = plan.config.epochs * len(members)
        on_epoch(read_history(folder), n_epochs)
        trained = [
            train_member(
                parts["train"],
                parts["validation"],
                member=i,
                config=plan.config,
                folder=folder,
                start=member,
                progress=lambda _line: on_epoch(read_history(folder), n_epochs),
            )
            for i, member in enumerate(members)
        ]
        calibration, is_new = _calibration(trained, parts["validation"], about)
        before = (float(about["temperature"]), float(about["offset"]))
        scores = {
            "held_out": probabilities(_logits(trained, parts["test"]), calibration),
            "start": probabilities(_logits(members, parts["test"]), before),
        }
    record = {
        "dataset_sha256": manifest["sha256"],
        "plan": {**asdict(plan), "start_sha256": about["sha256"]},
        **{f"n_{side}": len(parts[side]) for side in SPLITS},
        "n_training": len(parts["train"]),
        "calibration": "fitted on the validation side" if is_new else "that of the start",
        "history": read_history(folder),
    }
    digest = save_ensemble(
        trained, output, temperature=calibration[0], offset=calibration[1], record=record
    )
    return {
        "weights_sha256": digest,
        "dataset_sha256": manifest["sha256"],
        **{name: _figures(parts["test"], score) for name, score in scores.items()},
        "gain": compare(
            scores["held_out"], scores["start"], parts["test"].is_real, group=parts["test"].group
        ),
    }


def read_history(folder: Path) -> list[dict[str, Json]]:
    """Every epoch of every member so far: ``member``, ``epoch``, ``loss``, ``validation_aucpr``."""
    rows = []
    for path in sorted(folder.glob(_LOGS)):
        member = int(path.stem.removeprefix("member"))
        state = json.loads(path.read_text(encoding="utf-8"))
        rows += [{"member": member, **row} for row in state["history"]]
    return rows


def _logits(members: list[Any], samples: Prepared) -> np.ndarray:
    return np.asarray(member_logits(members, samples).mean(axis=0))


def _calibration(
    members: list[Any], validation: Prepared, about: Mapping[str, Json]
) -> tuple[tuple[float, float], bool]:
    """Temperature and offset: fitted where there is enough to fit, else those of the start."""
    n_real = int(validation.is_real.sum())
    if min(n_real, len(validation) - n_real) < LEAST_TO_CALIBRATE:
        return (float(about["temperature"]), float(about["offset"])), False
    return calibrate(_logits(members, validation), validation), True


def _figures(samples: Prepared, score: np.ndarray) -> dict[str, Json]:
    """Figures together, by survey and by kind, with curves to draw."""
    surveys = {}
    for survey in np.unique(samples.survey):
        rows = samples.survey == survey
        part, values = samples.select(rows), score[rows]
        surveys[str(survey)] = {
            **judge(values, part.is_real, group=part.group),
            "kinds": by_kind(part, values),
        }
    return {
        "all": judge(score, samples.is_real, group=samples.group),
        "curves": curves(score, samples.is_real),
        "surveys": surveys,
    }
