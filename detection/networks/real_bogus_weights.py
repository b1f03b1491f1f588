"""Shipped weights of the real-bogus network: safetensors, named and verified by their hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detection.networks.real_bogus import RealBogusEnsemble, RealBogusNetwork
from detection.networks.weight_files import read_weights, read_weights_record, write_weights

Json = Any

NAME = "real-bogus network"
FORMAT = "astrid-real-bogus/1"
WEIGHTS_FILE = Path(__file__).with_name("weights") / "real_bogus.safetensors"


def save_ensemble(
    members: list[RealBogusNetwork],
    path: Path,
    *,
    temperature: float,
    offset: float,
    record: dict[str, Json],
) -> str:
    """Write the weights, and beside them a JSON record with their SHA-256; returns the hash.

    Parameters
    ----------
    members : list of RealBogusNetwork
        Members with their normalisations, in order.
    path : Path
        Of the safetensors file; the record has the suffix ``.json``.
    temperature, offset : float
        Calibration, see ``RealBogusEnsemble``.
    record : dict
        How they were trained; kept as it is.
    """
    tensors = {
        f"member{i}.{name}": tensor
        for i, member in enumerate(members)
        for name, tensor in member.state_dict().items()
    }
    about = {
        "name": NAME,
        "n_members": len(members),
        "temperature": temperature,
        "offset": offset,
        "record": record,
    }
    return write_weights(tensors, path, kind=FORMAT, about=about)


def read_record(path: Path = WEIGHTS_FILE) -> dict[str, Json]:
    """The record beside the weights.

    Raises
    ------
    FileNotFoundError
        If weights or record are absent: an untrained network has no score.
    ValueError
        If the record is of another format.
    """
    return read_weights_record(path, kind=FORMAT, command="manage.py train_network real_bogus")


def report_path(path: Path = WEIGHTS_FILE) -> Path:
    """Where the figures of weights are kept: beside them."""
    return path.with_suffix(".report.json")


def load_ensemble(
    path: Path = WEIGHTS_FILE, *, about: dict[str, Json] | None = None, device: str = "cpu"
) -> RealBogusEnsemble:
    """Read and verify an ensemble; ``about`` is its record where that is not beside it.

    Raises
    ------
    FileNotFoundError
        If weights or record are absent.
    ValueError
        If the weights are not those that the record names by hash, or of another format.
    """
    about = about or read_record(path)
    return RealBogusEnsemble(
        load_members(path, about=about),
        temperature=float(about["temperature"]),
        offset=float(about["offset"]),
        device=device,
    )


def load_members(path: Path, *, about: dict[str, Json] | None = None) -> list[RealBogusNetwork]:
    """The members with their normalisations, verified as in ``load_ensemble``."""
    about = about or read_record(path)
    tensors = read_weights(path, sha256=about["sha256"])
    members = []
    for i in range(int(about["n_members"])):
        prefix = f"member{i}."
        member = RealBogusNetwork()
        member.load_state_dict(
            {
                name.removeprefix(prefix): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
        )
        members.append(member.eval())
    return members
