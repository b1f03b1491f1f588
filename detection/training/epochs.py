"""The loop of every training: epoch after epoch, a checkpoint after each, the best one kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

Json = Any
Progress = Callable[[str], object]


@dataclass(frozen=True)
class Training:
    """One network on its way.

    Attributes
    ----------
    network : nn.Module
        Filled as training goes.
    optimizer : torch.optim.Optimizer
        Of its parameters.
    folder : Path
        For the checkpoints ``{name}.*.safetensors`` and the log ``{name}.json`` that names them.
    name : str
        Of this training within the folder.
    terms : dict
        Configuration and data: a checkpoint must agree in them to be gone on with.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    folder: Path
    name: str
    terms: dict[str, Json]


def train_epochs(
    training: Training,
    *,
    epochs: int,
    patience: int,
    train_epoch: Callable[[int], float],
    validate: Callable[[], float],
    counts_start: bool = False,
    progress: Progress,
) -> dict[str, Tensor]:
    """Train until validation stands still, going on from the last finished epoch in the folder.

    Parameters
    ----------
    training : Training
        Its network holds the last epoch's weights afterwards.
    epochs, patience : int
        At most so many, and so many without a better validation.
    train_epoch : callable
        Trains one epoch, given its number from 0, and returns the mean loss. What it draws must
        follow from that number alone: then an interruption changes nothing, on one thread.
    validate : callable
        Average precision (AUCPR) of the network on held-out groups.
    counts_start : bool
        Whether the weights that it begins with come out where no epoch is better; their
        validation is then epoch 0 of the history, without a loss.
    progress : callable
        Gets one line for each epoch.

    Returns
    -------
    dict
        Weights of the epoch with the best validation.

    Raises
    ------
    ValueError
        If the folder holds a training by another configuration or on other data.
    """
    training.folder.mkdir(parents=True, exist_ok=True)
    state = _resume(training)
    best = state.pop("best_weights", None) or copy_weights(training.network)
    if counts_start and not state["history"]:
        state["best"] = validate()
        state["history"].append({"epoch": 0, "loss": None, "validation_aucpr": state["best"]})
    while state["epoch"] < epochs and state["stale"] < patience:
        loss = train_epoch(state["epoch"])
        aucpr = validate()
        state["epoch"] += 1
        state["stale"] += 1
        state["history"].append({"epoch": state["epoch"], "loss": loss, "validation_aucpr": aucpr})
        if aucpr > state["best"]:
            state["best"], state["stale"], best = aucpr, 0, copy_weights(training.network)
        _checkpoint(training, state=state, best=best)
        told = training.name.replace("member", "member ")
        progress(f"{told}, epoch {state['epoch']}: loss {loss:.4f}, AUCPR {aucpr:.4f}")
    return best


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights as they are now."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def set_rate(
    optimizer: torch.optim.Optimizer, *, highest: float, epochs: int, progress: float
) -> None:
    """A short rise, then a cosine down to a fiftieth, at a share of the whole training."""
    warm = min(1.0, 0.1 + progress * epochs / 0.3)
    fall = 0.02 + 0.98 * 0.5 * (1.0 + np.cos(np.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = highest * warm * float(fall)


def _resume(training: Training) -> dict[str, Json]:
    """State of the last finished epoch, or of a beginning; fills network and optimizer."""
    log = training.folder / f"{training.name}.json"
    if not log.is_file():
        return {"terms": training.terms, "epoch": 0, "stale": 0, "best": -1.0, "history": []}
    state: dict[str, Json] = json.loads(log.read_text(encoding="utf-8"))
    if state["terms"] != training.terms:
        msg = f"{log}: of another configuration or data set; choose another folder"
        raise ValueError(msg)
    stored = load_file(training.folder / state["weights"])
    named = {
        part: {
            name.removeprefix(f"{part}."): tensor
            for name, tensor in stored.items()
            if name.startswith(f"{part}.")
        }
        for part in ("network", "best", "optimizer")
    }
    training.network.load_state_dict(named["network"])
    content = training.optimizer.state_dict()
    content["state"] = {}
    for name, tensor in named["optimizer"].items():
        index, _, key = name.partition(".")
        content["state"].setdefault(int(index), {})[key] = tensor
    training.optimizer.load_state_dict(content)
    state["best_weights"] = named["best"]
    return state


def _checkpoint(training: Training, *, state: dict[str, Json], best: dict[str, Tensor]) -> None:
    """Write weights first and then, in one rename, the log that names them."""
    weights = training.network.state_dict()
    tensors = {f"network.{name}": tensor for name, tensor in weights.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for index, values in training.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
    # of alternating names: the log never names a file that is half written
    name = f"{training.name}.{state['epoch'] % 2}.safetensors"
    # safetensors keeps no memory layout
    content = {key: value.contiguous() for key, value in tensors.items()}
    save_file(content, training.folder / name)
    state["weights"] = name
    log = training.folder / f"{training.name}.json"
    draft = log.with_suffix(".draft")
    draft.write_text(json.dumps(state, indent=1), encoding="utf-8")
    draft.replace(log)
