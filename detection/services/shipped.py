"""The weights that come with AstrID."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.models import ScoringModel

_NETWORKS = Path(__file__).resolve().parents[1] / "networks"


@dataclass(frozen=True)
class Shipped:
    """One set of weights in the package, and the part it plays where nobody chose otherwise."""

    family: ScoringModel.Family
    role: ScoringModel.Role
    name: str
    version: str
    sha256: str
    record: dict[str, Any]
    report: dict[str, Any]


def shipped_weights(family: str) -> Path:
    """The file of one family's weights in the package."""
    if family == ScoringModel.Family.FEATURES:
        return _NETWORKS / "feature_model.json"
    if family == ScoringModel.Family.COMBINED:
        return _NETWORKS / "weights" / "combined.json"
    return _NETWORKS / "weights" / "real_bogus.safetensors"


def shipped_models() -> list[Shipped]:
    """What the package holds, the champion last; reads JSON and hashes, no weights."""
    return [_network(), _features(), _combined()]


def _combined() -> Shipped:
    path = shipped_weights(ScoringModel.Family.COMBINED)
    content = json.loads(path.read_text(encoding="utf-8"))
    sha256 = _hash(path)
    report = content["record"].pop("held_out")
    return Shipped(
        family=ScoringModel.Family.COMBINED,
        role=ScoringModel.Role.CHAMPION,
        name=content["name"],
        version=sha256[:12],
        sha256=sha256,
        record=content,
        report=report,
    )


def _network() -> Shipped:
    path = shipped_weights(ScoringModel.Family.NETWORK)
    sha256 = _hash(path)
    return Shipped(
        family=ScoringModel.Family.NETWORK,
        role=ScoringModel.Role.SHADOW,
        name="real-bogus network",
        version=sha256[:12],
        sha256=sha256,
        record=json.loads(path.with_suffix(".json").read_text(encoding="utf-8")),
        report=json.loads(path.with_suffix(".report.json").read_text(encoding="utf-8")),
    )


def _features() -> Shipped:
    path = shipped_weights(ScoringModel.Family.FEATURES)
    content = json.loads(path.read_text(encoding="utf-8"))
    held_out = content["record"].pop("held_out", {})
    return Shipped(
        family=ScoringModel.Family.FEATURES,
        role=ScoringModel.Role.SHADOW,
        name="feature model",
        version=content["version"],
        sha256=_hash(path),
        record={"record": content["record"]},
        report={"held_out": held_out},
    )


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
