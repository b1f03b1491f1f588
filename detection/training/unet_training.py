"""Train the U-Net on tiles of simulated nights: deterministic, and resumable after any kill."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from detection.networks.unet import UNet, normalise_tiles
from detection.networks.unet_weights import save_unet
from detection.training.epochs import Progress, Training, set_rate, train_epochs
from detection.training.unet_scenes import UNKNOWN, YES, Tiles, read_scenes, write_scenes

#: Changes are a few pixels in a thousand: each counts as so many.
_CHANGE_WEIGHT = 8.0
#: How much stars and trails count beside changes.
_CLASS_WEIGHTS = (1.0, 0.2, 0.2)
_BATCH_SCORED = 16
#: Validation looks where a detector would: at pixels of at least this |score| [sigma].
_LEAST_SCORE = 3.0
#: Seeds of scenes begin here; the others are far from those of every other data set.
_FIRST_TRAINING, _FIRST_VALIDATION = 50_100, 51_000


@dataclass(frozen=True)
class UNetPlan:
    """What the U-Net is trained on, and how.

    Attributes
    ----------
    n_scenes, n_validation : int
        Simulated nights.
    seed : int
        Of first weights, order and orientation.
    epochs, patience : int
        At most so many, and so many without a better validation AUCPR.
    batch : int
        Tiles of a step.
    learning_rate, weight_decay : float
        Of AdamW; the rate falls along a cosine to a fiftieth.
    """

    n_scenes: int = 80
    n_validation: int = 8
    seed: int = 1
    epochs: int = 14
    patience: int = 4
    batch: int = 8
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3

    def seeds(self) -> tuple[range, range]:
        """Seeds of the scenes of training and of validation."""
        return (
            range(_FIRST_TRAINING, _FIRST_TRAINING + self.n_scenes),
            range(_FIRST_VALIDATION, _FIRST_VALIDATION + self.n_validation),
        )


def train_and_save_unet(plan: UNetPlan, *, folder: Path, output: Path, progress: Progress) -> str:
    """Make the scenes that are not there yet, train, write the weights; returns their SHA-256.

    Parameters
    ----------
    plan : UNetPlan
        What it is trained on, and how.
    folder : Path
        For scenes (``scenes/``) and checkpoints; what an interrupted run left is gone on with.
    output : Path
        Of the safetensors file.
    progress : callable
        Gets one line for each scene and each epoch.
    """
    torch.set_num_threads(1)
    scenes = folder / "scenes"
    for seeds in plan.seeds():
        write_scenes(scenes, seeds, progress=progress)
    training, validation = (read_scenes(scenes, seeds) for seeds in plan.seeds())
    network = train_unet(training, validation, plan=plan, folder=folder, progress=progress)
    record = {
        "plan": asdict(plan),
        "n_training_tiles": len(training),
        "n_validation_tiles": len(validation),
        "dataset_sha256": training.sha256,
        "validation_aucpr": round(validate_unet(network, validation), 4),
    }
    return save_unet(network, output, record=record)


def train_unet(
    training: Tiles, validation: Tiles, *, plan: UNetPlan, folder: Path, progress: Progress
) -> UNet:
    """Train on tiles, going on from the last finished epoch found in the folder.

    Returns
    -------
    UNet
        The weights of the epoch with the best validation AUCPR, in evaluation mode.

    Raises
    ------
    ValueError
        If the folder holds a training by another plan or on other tiles.
    """
    torch.manual_seed(plan.seed)
    network = UNet()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    terms = {"plan": asdict(plan), "tiles": [len(training), len(validation)]}
    terms["sha256"] = training.sha256

    def train_epoch(epoch: int) -> float:
        return _train_epoch(network, optimizer, training, plan=plan, epoch=epoch)

    best = train_epochs(
        Training(network, optimizer, folder, "unet_training", terms),
        epochs=plan.epochs,
        patience=plan.patience,
        train_epoch=lambda epoch: _train_epoch(
            network, optimizer, training, plan=plan, epoch=epoch
        ),
        validate=lambda: validate_unet(network, validation),
        progress=progress,
    )
    network.load_state_dict(best)
    return network.eval()


def validate_unet(network: UNet, tiles: Tiles) -> float:
    """Average precision of pixels with |score| >= 3 and known truth."""
    network.eval()
    said, truth = [], []
    with torch.inference_mode():
        for first in range(0, len(tiles), _BATCH_SCORED):
            rows = slice(first, first + _BATCH_SCORED)
            planes = tiles.planes[rows]
            logits = network(normalise_tiles(torch.from_numpy(planes)))[:, 0].numpy()
            asked = (np.abs(planes[:, 3]) >= _LEAST_SCORE) & (tiles.truth[rows, 0] != UNKNOWN)
            said.append(logits[asked])
            truth.append(tiles.truth[rows, 0][asked] == YES)
    return float(average_precision_score(np.concatenate(truth), np.concatenate(said)))


def unet_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy over pixels of known truth.

    Parameters
    ----------
    logits : Tensor, shape (n, 3, ny, nx)
        Of the network.
    truth : Tensor, uint8, shape (n, 3, ny, nx)
        0 no, 1 yes, 2 unknown.

    Returns
    -------
    Tensor
        One number; pixels that changed count eightfold, stars and trails a fifth.
    """
    yes = (truth == YES).to(logits.dtype)
    weight = (truth != UNKNOWN).to(logits.dtype)
    weight[:, 0] *= 1.0 + (_CHANGE_WEIGHT - 1.0) * yes[:, 0]
    weight *= torch.tensor(_CLASS_WEIGHTS)[None, :, None, None]
    loss = nn.functional.binary_cross_entropy_with_logits(logits, yes, weight=weight)
    return loss * len(_CLASS_WEIGHTS)


def turn_tiles(planes: Tensor, truth: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch in one of the eight orientations, sometimes with the two frames exchanged."""
    if rng.random() < 0.25:
        # what appeared then fades: the truth does not tell them apart, stars belong to a frame
        planes = torch.stack([planes[:, 1], planes[:, 0], -planes[:, 2], -planes[:, 3]], dim=1)
        truth = truth.clone()
        truth[:, 1:] = UNKNOWN
    turn, is_mirrored = int(rng.integers(4)), rng.random() < 0.5
    turned = [torch.rot90(maps, turn, dims=(2, 3)) for maps in (planes, truth)]
    planes, truth = (maps.flip(3) if is_mirrored else maps for maps in turned)
    return planes, truth


def _train_epoch(
    network: UNet,
    optimizer: torch.optim.Optimizer,
    tiles: Tiles,
    *,
    plan: UNetPlan,
    epoch: int,
) -> float:
    """One pass over the tiles; returns the mean loss."""
    # of this epoch alone: an interrupted training draws the same again
    rng = np.random.default_rng([plan.seed, 72, epoch])
    network.train()
    order: NDArray[np.int64] = rng.permutation(len(tiles))
    n_steps = max(len(order) // plan.batch, 1)
    total = 0.0
    for step in range(n_steps):
        rows = np.sort(order[step * plan.batch : (step + 1) * plan.batch])
        set_rate(
            optimizer,
            highest=plan.learning_rate,
            epochs=plan.epochs,
            progress=(epoch + step / n_steps) / plan.epochs,
        )
        planes, truth = turn_tiles(
            torch.from_numpy(tiles.planes[rows]), torch.from_numpy(tiles.truth[rows]), rng
        )
        channels = normalise_tiles(planes).contiguous(memory_format=torch.channels_last)
        loss = unet_loss(network(channels), truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += float(loss.detach())
    return total / n_steps
