"""Train one member of the real-bogus ensemble: deterministic, and resumable after any kill."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import nn

from detection.networks.real_bogus import RealBogusNetwork
from detection.networks.real_bogus_input import to_channels
from detection.training.epochs import Progress, Training, set_rate, train_epochs
from detection.training.real_bogus_augment import augment
from detection.training.triplet_dataset import Prepared

Json = Any

_MAX_WEIGHT = 6.0
_BATCH_SCORED = 512


@dataclass(frozen=True)
class TrainingConfig:
    """How one member is trained.

    Attributes
    ----------
    seed : int
        Of first weights, order and augmentation, together with the member's number.
    epochs : int
        At most.
    patience : int
        Epochs without a better validation AUCPR before training stops.
    batch : int
        Samples of a step; an augmentation is drawn for each.
    learning_rate, weight_decay : float
        Of AdamW; the rate falls along a cosine to a fiftieth.
    label_smoothing : float
        Truth is taken as this less certain: some labels are wrong.
    counts_start : bool
        Whether the weights that it begins with may come out, where no epoch is better.
    """

    seed: int = 1
    epochs: int = 12
    patience: int = 4
    batch: int = 96
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.02
    counts_start: bool = False


def train_member(
    training: Prepared,
    validation: Prepared,
    *,
    member: int,
    config: TrainingConfig,
    folder: Path,
    start: RealBogusNetwork | None = None,
    keeps_last: bool = False,
    progress: Progress,
) -> RealBogusNetwork:
    """Train a member, going on from the last finished epoch found in the folder.

    Parameters
    ----------
    training, validation : Prepared
        Samples of different groups.
    member : int
        Number of the member.
    config : TrainingConfig
        How.
    folder : Path
        For the checkpoint and the log ``member{n}.json`` of metrics at each epoch.
    start : RealBogusNetwork, optional
        Weights to begin with instead of random ones.
    keeps_last : bool
        Whether the last epoch is taken whatever validation says.
    progress : callable
        Gets one line for each epoch.

    Returns
    -------
    RealBogusNetwork
        The weights of the epoch with the best validation AUCPR. The same after an interruption
        as without one, on one thread.

    Raises
    ------
    ValueError
        If the folder holds a training by another configuration or on other data.
    """
    torch.manual_seed(1000 * config.seed + member)
    network = RealBogusNetwork()
    if start is not None:
        network.load_state_dict(start.state_dict())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    weights = class_weights(training)

    def train_epoch(epoch: int) -> float:
        return _train_epoch(
            network, optimizer, training, weights=weights, config=config, stream=(member, epoch)
        )

    def validate() -> float:
        logits = score_member(network, validation)
        return float(average_precision_score(validation.is_real, logits))

    best = train_epochs(
        Training(
            network, optimizer, folder, f"member{member}", _terms(config, training, validation)
        ),
        epochs=config.epochs,
        patience=config.patience,
        train_epoch=train_epoch,
        validate=validate,
        counts_start=config.counts_start,
        progress=progress,
    )
    if not keeps_last:
        network.load_state_dict(best)
    return network.eval()


def class_weights(samples: Prepared) -> NDArray[np.float32]:
    """Weights by which real and bogus count alike within each survey, 1 in the mean."""
    weight = np.ones(len(samples), dtype=np.float64)
    for survey in np.unique(samples.survey):
        rows = samples.survey == survey
        n_real = int(samples.is_real[rows].sum())
        n_bogus = int(rows.sum()) - n_real
        if n_real and n_bogus:
            weight[rows & samples.is_real] = min(0.5 * rows.sum() / n_real, _MAX_WEIGHT)
            weight[rows & ~samples.is_real] = min(0.5 * rows.sum() / n_bogus, _MAX_WEIGHT)
    return np.asarray(weight / weight.mean(), dtype=np.float32)


def score_member(network: RealBogusNetwork, samples: Prepared) -> NDArray[np.float64]:
    """Logits (n,) of one orientation."""
    network.eval()
    logits = np.empty(len(samples))
    with torch.inference_mode():
        for first in range(0, len(samples), _BATCH_SCORED):
            rows = slice(first, first + _BATCH_SCORED)
            planes = torch.from_numpy(samples.planes[rows]).float()
            channels = to_channels(planes).contiguous(memory_format=torch.channels_last)
            logits[rows] = network(channels).double().numpy()
    return logits


def _train_epoch(
    network: RealBogusNetwork,
    optimizer: torch.optim.Optimizer,
    samples: Prepared,
    *,
    weights: NDArray[np.float32],
    config: TrainingConfig,
    stream: tuple[int, int],
) -> float:
    """One pass over the training samples; returns the mean loss."""
    member, epoch = stream
    # of this epoch alone: an interrupted training draws the same again
    rng = np.random.default_rng([config.seed, member, epoch])
    torch.manual_seed(int(rng.integers(2**31)))
    network.train()
    order = rng.permutation(len(samples))
    n_steps = max(len(order) // config.batch, 1)
    total = 0.0
    for step in range(n_steps):
        rows = np.sort(order[step * config.batch : (step + 1) * config.batch])
        set_rate(
            optimizer,
            highest=config.learning_rate,
            epochs=config.epochs,
            progress=(epoch + step / n_steps) / config.epochs,
        )
        channels = augment(torch.from_numpy(samples.planes[rows]).float(), rng)
        truth = torch.from_numpy(samples.is_real[rows].astype(np.float32))
        truth = truth * (1.0 - 2 * config.label_smoothing) + config.label_smoothing
        loss = nn.functional.binary_cross_entropy_with_logits(
            network(channels), truth, weight=torch.from_numpy(weights[rows])
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        total += float(loss.detach())
    return total / n_steps


def _terms(config: TrainingConfig, training: Prepared, validation: Prepared) -> dict[str, Json]:
    """What a checkpoint must agree in to be gone on with."""
    counts = [len(training), int(training.is_real.sum()), len(validation)]
    told = asdict(config)
    if not config.counts_start:
        del told["counts_start"]  # trainings begun before it was known go on
    return {"config": told, "samples": counts, "first": str(training.digest[0])}
