"""Rows of data sets and trainings for tests."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from itertools import count
from typing import Any

from astrid_site.core.models import FileKind
from astrid_site.core.storage import put_bytes
from detection.models import DataSet, ScoringModel, TrainingRun

_number = count(1)

COUNTS: dict[str, Any] = {
    "n": 80,
    "n_real": 40,
    "n_bogus": 40,
    "splits": {
        "train": {"real": 30, "bogus": 30, "groups": 20},
        "validation": {"real": 5, "bogus": 5, "groups": 4},
        "test": {"real": 5, "bogus": 5, "groups": 4},
    },
    "sources": {"verdict": {"real": 40, "bogus": 40}},
    "surveys": {"simulated": {"real": 40, "bogus": 40}},
    "kinds": {"real": {"real": 40, "bogus": 0}, "dipole": {"real": 0, "bogus": 40}},
    "n_left_out": 2,
    "reasons": {"science: near-black share": 2},
    "unlabelled": {"people are unsure": 3},
    "split": {"keeps_together": ["object", "sky cell", "night"], "note": "", "cuts": [0.75, 0.87]},
    "shown": [],
}


def make_dataset(**fields: Any) -> DataSet:
    """A version whose ZIP holds a manifest and no cutouts."""
    n = next(_number)
    digest = hashlib.sha256(str(n).encode()).hexdigest()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("manifest.json", json.dumps({"sha256": digest, "samples": []}))
    stored = put_bytes(
        content.getvalue(),
        kind=FileKind.DATASET,
        name=f"set{n}.zip",
        media_type="application/zip",
    )
    picture = put_bytes(b"png", kind=FileKind.PREVIEW, name="m.png", media_type="image/png")
    told = {"name": "verdicts", "version": n, "digest": digest, "counts": COUNTS}
    return DataSet.objects.create(**{**told, "file": stored, "mosaic_file": picture, **fields})


def make_training(dataset: DataSet | None = None, **fields: Any) -> TrainingRun:
    """A training that went two epochs and has no job."""
    start = ScoringModel.objects.get(family=ScoringModel.Family.NETWORK, is_shipped=True)
    history = [
        {"member": 0, "epoch": 0, "loss": None, "validation_aucpr": 0.9},
        {"member": 0, "epoch": 1, "loss": 0.4, "validation_aucpr": 0.92},
        {"member": 0, "epoch": 2, "loss": 0.3, "validation_aucpr": 0.95},
    ]
    told: dict[str, Any] = {"parameters": {"epochs": 12, "seed": 1, "role": "challenger"}}
    return TrainingRun.objects.create(
        dataset=dataset or make_dataset(), start=start, history=history, **{**told, **fields}
    )
