"""The whole training of the ensemble: on simulations, then on with real alerts, then calibrated."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from detection.networks.real_bogus import N_MEMBERS, RealBogusEnsemble, RealBogusNetwork
from detection.networks.real_bogus_weights import load_members, read_record, save_ensemble
from detection.training.epochs import Progress
from detection.training.real_bogus_training import (
    TrainingConfig,
    class_weights,
    train_member,
)
from detection.training.triplet_builder import ALERTS
from detection.training.triplet_dataset import (
    Prepared,
    join_prepared,
    load_dataset,
    load_delivered,
    read_manifest,
    split_by_group,
)

Json = Any
Values = NDArray[np.float64]

#: Weights that have seen no real alert, in the folder of the training.
SIMULATED_ONLY = "simulated_only.safetensors"
#: Copies of each real alert in the second step: as delivered, and twice as others might have.
_N_DELIVERED = 2
_BATCH = 256
#: Each so many of the validation samples are looked at while alerts are learnt.
_WATCHED = 4
_MAX_LOG = float(np.log(4.0))


@dataclass(frozen=True)
class EnsemblePlan:
    """Both steps of training.

    Attributes
    ----------
    first : TrainingConfig
        From random weights on simulated samples and null pairs.
    second : TrainingConfig
        From there on with real alerts among as many others.
    n_members : int
    start_sha256 : str
        Of the weights that the first step went on from; empty where it began from random ones.
    """

    first: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=7))
    second: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            seed=2, epochs=16, learning_rate=2e-3, label_smoothing=0.03
        )
    )
    n_members: int = N_MEMBERS
    start_sha256: str = ""


def make_plan(
    *, seed: int, epochs: int, alert_epochs: int, n_members: int, start: Path | None = None
) -> EnsemblePlan:
    """A plan of so many epochs, gentler where it goes on from weights.

    Raises
    ------
    FileNotFoundError, ValueError
        If the weights to go on from are absent, have other members or have seen real alerts: by
        those nothing could be judged any more.
    """
    plan = EnsemblePlan(n_members=n_members)
    first = plan.first
    if start is not None:
        about = read_record(start)
        if about["n_members"] != n_members or about["record"]["n_alerts"]:
            msg = f"{start.name}: need {n_members} members that have seen no real alert"
            raise ValueError(msg)
        plan = replace(plan, start_sha256=about["sha256"])
        first = replace(first, learning_rate=first.learning_rate / 2)
    return replace(
        plan,
        first=replace(first, seed=seed, epochs=epochs),
        second=replace(plan.second, seed=seed + 1, epochs=alert_epochs),
    )


def plan_of(record: dict[str, Json]) -> EnsemblePlan:
    """The plan that weights were trained by, from their record."""
    stored = record["plan"]
    return EnsemblePlan(
        first=TrainingConfig(**stored["first"]),
        second=TrainingConfig(**stored["second"]),
        n_members=stored["n_members"],
        start_sha256=stored.get("start_sha256", ""),
    )


def train_and_save(
    dataset: Path,
    *,
    plan: EnsemblePlan,
    folder: Path,
    output: Path,
    start: Path | None = None,
    progress: Progress,
) -> str:
    """Train both steps, calibrate, write ``output`` and, from the first step alone, another.

    The weights that have seen no real alert are written to ``folder/simulated_only.safetensors``:
    they show what is to be expected on a survey that training never saw.

    Returns
    -------
    str
        SHA-256 of ``output``.
    """
    torch.set_num_threads(1)
    samples = load_dataset(dataset)
    parts, alerts = split_alerts(dataset, samples, seed=plan.second.seed)
    members = train_first(
        parts,
        plan=plan,
        folder=folder / "first",
        start=load_members(start) if start is not None else None,
        progress=progress,
    )
    record = {
        "dataset_sha256": read_manifest(dataset)["sha256"],
        "plan": asdict(plan),
        "n_training": len(parts["train"]),
        "n_validation": len(parts["validation"]),
        "n_alerts": 0,
    }
    _calibrate_and_save(members, parts, folder / SIMULATED_ONLY, record=record)
    if plan.second.epochs and alerts:
        members = train_on_alerts(
            members, parts, alerts, plan=plan, folder=folder / "second", progress=progress
        )
        record = {**record, "n_alerts": len(alerts[0])}
    return _calibrate_and_save(members, parts, output, record=record)


def split_alerts(
    dataset: Path, samples: Prepared, *, seed: int
) -> tuple[dict[str, Prepared], list[Prepared]]:
    """Splits of all that is no real alert; and copies of the alerts, the first as delivered.

    The list is empty where there are none.
    """
    is_alert = samples.survey == ALERTS
    parts = split_by_group(samples.select(~is_alert))
    if not is_alert.any():
        return parts, []
    others = [load_delivered(dataset, survey=ALERTS, seed=seed + i) for i in range(_N_DELIVERED)]
    return parts, [samples.select(is_alert), *others]


def _calibrate_and_save(
    members: list[RealBogusNetwork],
    parts: dict[str, Prepared],
    path: Path,
    *,
    record: dict[str, Json],
) -> str:
    logits = member_logits(members, parts["validation"]).mean(axis=0)
    temperature, offset = calibrate(logits, parts["validation"])
    return save_ensemble(members, path, temperature=temperature, offset=offset, record=record)


def train_first(
    parts: dict[str, Prepared],
    *,
    plan: EnsemblePlan,
    folder: Path,
    start: list[RealBogusNetwork] | None = None,
    progress: Progress,
) -> list[RealBogusNetwork]:
    """Members that have seen no real alert, from random weights or on from others."""
    return [
        train_member(
            parts["train"],
            parts["validation"],
            member=member,
            config=plan.first,
            folder=folder,
            start=start[member] if start is not None else None,
            progress=progress,
        )
        for member in range(plan.n_members)
    ]


def train_on_alerts(
    members: list[RealBogusNetwork],
    parts: dict[str, Prepared],
    alerts: list[Prepared],
    *,
    plan: EnsemblePlan,
    folder: Path,
    progress: Progress,
) -> list[RealBogusNetwork]:
    """Members that go on with real alerts, mixed with simulated samples so as not to forget.

    ``alerts`` are copies, differently delivered, of all that is to be learnt; what is to be judged
    on must not be among them. Validation is left to the simulations: a handful of alerts would be
    noise.
    """
    rng = np.random.default_rng(plan.second.seed)
    n_others = min(sum(map(len, alerts)), len(parts["train"]))
    others = rng.choice(len(parts["train"]), size=n_others, replace=False)
    mixed = join_prepared([*alerts, parts["train"].select(np.sort(others))])
    # the last epoch is taken: simulated validation cannot tell when alerts are learnt
    config = replace(plan.second, patience=plan.second.epochs + 1)
    watched = parts["validation"].select(np.arange(0, len(parts["validation"]), _WATCHED))
    return [
        train_member(
            mixed,
            watched,
            member=member,
            config=config,
            folder=folder,
            start=start,
            keeps_last=True,
            progress=progress,
        )
        for member, start in enumerate(members)
    ]


def member_logits(members: list[RealBogusNetwork], samples: Prepared) -> Values:
    """Uncalibrated logits (n_members, n), oriented as in scoring."""
    ensemble = RealBogusEnsemble(members)
    parts = [
        ensemble.logits(torch.from_numpy(samples.planes[first : first + _BATCH]).float())
        for first in range(0, len(samples), _BATCH)
    ]
    return np.asarray(torch.cat(parts, dim=1).double().numpy())


def calibrate(logits: Values, samples: Prepared) -> tuple[float, float]:
    """Temperature and offset by the least weighted log loss on held-out groups.

    Parameters
    ----------
    logits : NDArray[float64], shape (n,)
        Mean logits of the members.
    samples : Prepared
        Their truth; real and bogus of each survey count alike.

    Returns
    -------
    temperature, offset : float
    """
    truth, weight = samples.is_real.astype(np.float64), class_weights(samples).astype(np.float64)

    def loss(terms: Values) -> float:
        z = (logits - terms[1]) / _temperature(terms)
        return float(np.average(np.logaddexp(0.0, z) - truth * z, weights=weight))

    found = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-4})
    return round(_temperature(found.x), 4), round(float(found.x[1]), 4)


def _temperature(terms: Values) -> float:
    """Within a factor of four of 1: where nothing is wrong, the best would be 0."""
    return float(np.exp(np.clip(terms[0], -_MAX_LOG, _MAX_LOG)))


def probabilities(logits: Values, calibration: tuple[float, float]) -> Values:
    """Calibrated probabilities of mean logits."""
    temperature, offset = calibration
    return np.asarray(1.0 / (1.0 + np.exp(-(logits - offset) / temperature)))
