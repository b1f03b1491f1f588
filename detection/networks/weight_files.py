"""Weights in safetensors files, with a JSON record beside them that names them by their hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

Json = Any


def write_weights(
    tensors: dict[str, Tensor], path: Path, *, kind: str, about: dict[str, Json]
) -> str:
    """Write the weights, and beside them a record with their SHA-256, which is returned.

    Parameters
    ----------
    tensors : dict of Tensor
        By name.
    path : Path
        Of the safetensors file; the record has the suffix ``.json``.
    kind : str
        The format of the record, with its version.
    about : dict
        Kept in the record as it is.
    """
    content = save(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, metadata={"format": kind}
    )
    digest = hashlib.sha256(content).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    text = json.dumps({"format": kind, "sha256": digest, **about}, indent=1, sort_keys=True)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return digest


def read_weights_record(path: Path, *, kind: str, command: str) -> dict[str, Json]:
    """The record beside weights.

    Raises
    ------
    FileNotFoundError
        If weights or record are absent: an untrained network has no score. Names the command
        that trains it.
    ValueError
        If the record is of another format.
    """
    for part in (path, path.with_suffix(".json")):
        if not part.is_file():
            msg = f"{part.name}: not there; train with `{command}`"
            raise FileNotFoundError(msg)
    about: dict[str, Json] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if about.get("format") != kind:
        msg = f"{path.name}: format {about.get('format')!r} is not {kind!r}"
        raise ValueError(msg)
    return about


def read_weights(path: Path, *, sha256: str) -> dict[str, Tensor]:
    """The tensors of a file.

    Raises
    ------
    ValueError
        If the file is not the one of that hash.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        msg = f"{path.name}: SHA-256 {digest[:12]}… is not the recorded {sha256[:12]}…"
        raise ValueError(msg)
    return load(content)
