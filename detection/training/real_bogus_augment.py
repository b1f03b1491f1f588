"""Changes that leave truth as it is, drawn anew for every batch, on training samples only."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from detection.networks.real_bogus_input import FIELD, to_channels
from detection.training.triplet_dataset import KEPT

_MAX_SHIFT = (KEPT - FIELD) // 2


def augment(planes: Tensor, rng: np.random.Generator) -> Tensor:
    """Channels (n, 6, 49, 49) of normalised planes (n, 3, 53, 53), each changed at random.

    One of the eight orientations and a shift of up to two pixels for the batch; for each sample
    a unit of the template of its own, a stretch, a missing template or a difference upside down.
    """
    n = len(planes)
    planes = planes.clone()
    unit = np.where(rng.random(n) < 0.25, np.exp(rng.normal(0.0, 0.7, n)), 1.0)
    planes[:, 1] = torch.asinh(_per_sample(unit) * torch.sinh(planes[:, 1].clamp(-30.0, 30.0)))
    stretch = np.exp(rng.normal(0.0, 0.12, n))
    planes = planes * _per_sample(stretch)[:, None]
    planes[torch.from_numpy(rng.random(n) < 0.03), 1] = torch.nan
    flipped = torch.from_numpy(rng.random(n) < 0.02)
    planes[flipped, 2] = -planes[flipped, 2]
    dx, dy = (int(v) for v in rng.integers(0, 2 * _MAX_SHIFT + 1, 2))
    planes = planes[:, :, dy : dy + FIELD, dx : dx + FIELD]
    planes = torch.rot90(planes, int(rng.integers(4)), dims=(2, 3))
    if rng.random() < 0.5:
        planes = planes.flip(3)
    return to_channels(planes).contiguous(memory_format=torch.channels_last)


def _per_sample(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, None, None]
