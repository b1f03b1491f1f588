"""Weights that are damaged on purpose, for showing that a bad champion is thrown out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from detection.networks.real_bogus_weights import (
    WEIGHTS_FILE,
    load_members,
    read_record,
    report_path,
    save_ensemble,
)


def shuffle_last_layer(path: Path, *, seed: int = 1) -> tuple[bytes, dict[str, Any]]:
    """The shipped network with the weights of its last layer shuffled, and its record.

    It loads, it has a hash of its own, it gives scores: only that they mean nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    members = load_members(WEIGHTS_FILE)
    for member in members:
        layer = member.logit
        order = torch.randperm(layer.weight.numel(), generator=generator)
        with torch.no_grad():
            layer.weight.copy_(layer.weight.flatten()[order].reshape(layer.weight.shape))
    about = read_record()
    save_ensemble(
        members,
        path,
        temperature=float(about["temperature"]),
        offset=float(about["offset"]),
        record={"damaged": "last layer shuffled", "seed": seed},
    )
    report_path(path).unlink(missing_ok=True)
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
