"""Changes that leave truth as it is, drawn anew for every batch, on training samples only."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from detection.networks.real_bogus_input import FIELD, to_channels
from detection.training.triplet_dataset import KEPT

_MAX_SHIFT = (KEPT - FIELD) // 2
#: Planes that a survey may not hand over, and in how many samples they are taken away: science 0,
#: template 1, difference 2. What is left always shows the candidate.
_MISSING: tuple[tuple[tuple[int, ...], float], ...] = (
    ((1,), 0.06),
    ((0,), 0.05),
    ((2,), 0.05),
    ((0, 1), 0.03),
    ((1, 2), 0.01),
)
_MAD_TO_SIGMA = 1.4826


def augment(planes: Tensor, rng: np.random.Generator) -> Tensor:
    """Channels (n, 6, 49, 49) of normalised planes (n, 3, 53, 53), each changed at random.

    One of the eight orientations and a shift of up to two pixels for the batch; for each sample
    a unit of the template of its own, a stretch, missing planes or a difference upside down.
    """
    n = len(planes)
    planes = planes.clone()
    unit = np.where(rng.random(n) < 0.25, np.exp(rng.normal(0.0, 0.7, n)), 1.0)
    planes[:, 1] = torch.asinh(_per_sample(unit) * torch.sinh(planes[:, 1].clamp(-30.0, 30.0)))
    take_away_planes(planes, rng)
    stretch = np.exp(rng.normal(0.0, 0.12, n))
    planes = planes * _per_sample(stretch)[:, None]
    flipped = torch.from_numpy(rng.random(n) < 0.02)
    planes[flipped, 2] = -planes[flipped, 2]
    dx, dy = (int(v) for v in rng.integers(0, 2 * _MAX_SHIFT + 1, 2))
    planes = planes[:, :, dy : dy + FIELD, dx : dx + FIELD]
    planes = torch.rot90(planes, int(rng.integers(4)), dims=(2, 3))
    if rng.random() < 0.5:
        planes = planes.flip(3)
    return to_channels(planes).contiguous(memory_format=torch.channels_last)


def take_away_planes(planes: Tensor, rng: np.random.Generator) -> None:
    """Make whole planes of some of the normalised samples missing, in place.

    A template that stays without its science plane is left in units of its own noise, as
    ``normalise`` would give it.
    """
    draw = rng.random(len(planes))
    passed = 0.0
    for missing, share in _MISSING:
        rows = torch.from_numpy((draw >= passed) & (draw < passed + share))
        if 0 in missing and 1 not in missing:
            planes[rows, 1] = _in_own_noise(planes[rows, 1])
        for plane in missing:
            planes[rows, plane] = torch.nan
        passed += share


def _in_own_noise(plane: Tensor) -> Tensor:
    """Stretched planes (m, ny, nx), brought to the unit in which their own noise is 1."""
    linear = torch.sinh(plane)
    flat = linear.flatten(1)
    level = flat.nanmedian(dim=1, keepdim=True).values
    sigma = _MAD_TO_SIGMA * (flat - level).abs().nanmedian(dim=1, keepdim=True).values
    return torch.where(sigma[..., None] > 0, torch.asinh(linear / sigma[..., None]), plane)


def _per_sample(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, None, None]
