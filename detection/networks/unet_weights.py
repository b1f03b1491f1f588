"""Weights of the U-Net, named and verified by their hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detection.networks.unet import UNet
from detection.networks.weight_files import read_weights, read_weights_record, write_weights

Json = Any

NAME = "second detector"
FORMAT = "astrid-unet/1"
WEIGHTS_FILE = Path(__file__).with_name("weights") / "unet.safetensors"
_COMMAND = "manage.py train_network unet"


def save_unet(network: UNet, path: Path, *, record: dict[str, Json]) -> str:
    """Write the weights and their record; returns their SHA-256."""
    about = {"name": NAME, "record": record}
    return write_weights(dict(network.state_dict()), path, kind=FORMAT, about=about)


def read_unet_record(path: Path = WEIGHTS_FILE) -> dict[str, Json]:
    """The record beside the weights; raises as ``read_weights_record``."""
    return read_weights_record(path, kind=FORMAT, command=_COMMAND)


def load_unet(path: Path = WEIGHTS_FILE) -> UNet:
    """Read and verify a trained network, in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If weights or record are absent.
    ValueError
        If the weights are not those that the record names by hash, or of another format.
    """
    about = read_unet_record(path)
    network = UNet()
    network.load_state_dict(read_weights(path, sha256=about["sha256"]))
    return network.eval()
