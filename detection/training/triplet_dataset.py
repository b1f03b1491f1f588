"""Data sets of triplets: shards that a manifest names by hash, split by group without leakage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.networks.real_bogus_input import normalise
from detection.training.triplet_delivery import deliver
from detection.training.triplet_samples import TripletSamples

Json = Any

FORMAT = "astrid-triplet-dataset/1"
#: The same shards, with a list of every sample and with the side of every group beside them.
LISTED_FORMAT = "astrid-triplet-dataset/2"
MANIFEST = "manifest.json"
SPLITS = ("train", "validation", "test")
#: Shares of the groups in training and validation; the rest is kept for the test.
_TRAIN, _VALIDATION = 0.75, 0.12
#: The same as shares of the hash: below the first to training, from the second on to the test.
SPLIT_AT = (_TRAIN, _TRAIN + _VALIDATION)
#: Normalised planes are kept this wide: the network's field and two pixels of shift each way.
KEPT = 53
_BATCH = 256


@dataclass(frozen=True)
class Prepared:
    """Normalised triplets in memory; rows belong together.

    Attributes
    ----------
    planes : NDArray[float16], shape (n, 3, 53, 53)
        As ``real_bogus_input.normalise`` gives them; NaN where missing.
    is_real, kind, group, survey, snr :
        As in ``TripletSamples``.
    digest : NDArray[str], shape (n,)
        Hash of each triplet's bytes.
    """

    planes: NDArray[np.float16]
    is_real: NDArray[np.bool_]
    kind: NDArray[np.str_]
    group: NDArray[np.str_]
    survey: NDArray[np.str_]
    snr: NDArray[np.float64]
    digest: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.is_real)

    def select(self, rows: NDArray[Any]) -> Prepared:
        """The samples at rows."""
        return Prepared(*(values[rows] for values in vars(self).values()))


def prepare(samples: TripletSamples) -> Prepared:
    """Normalise samples and keep the middle of them."""
    edge = (samples.triplets.shape[1] - KEPT) // 2
    planes = np.empty((len(samples), 3, KEPT, KEPT), dtype=np.float16)
    for first in range(0, len(samples), _BATCH):
        part = normalise(torch.from_numpy(samples.triplets[first : first + _BATCH]))
        planes[first : first + _BATCH] = part[:, :, edge:-edge, edge:-edge].numpy()
    digests = [hashlib.sha256(triplet.tobytes()).hexdigest()[:32] for triplet in samples.triplets]
    return Prepared(
        planes=planes,
        is_real=samples.is_real,
        kind=samples.kind,
        group=samples.group,
        survey=samples.survey,
        snr=samples.snr,
        digest=np.array(digests, dtype="U32"),
    )


def join_prepared(parts: Sequence[Prepared]) -> Prepared:
    """All samples of several parts in order."""
    names = vars(parts[0])
    return Prepared(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def split_of(group: str) -> str:
    """The split that a group belongs to, by the hash of its name: it never changes."""
    share = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 2**32
    if share < _TRAIN:
        return "train"
    return "validation" if share < _TRAIN + _VALIDATION else "test"


def split_by_group(
    samples: Prepared, *, named: Mapping[str, str] | None = None
) -> dict[str, Prepared]:
    """Training, validation and test samples.

    Parameters
    ----------
    samples : Prepared
        With the group of each.
    named : mapping of str to str, optional
        Side of each group as a manifest lists it; the hash of its name decides where none is.

    Raises
    ------
    ValueError
        If a group or a triplet is in two splits.
    """
    sides = named or {}
    name_of = {
        group: sides.get(str(group)) or split_of(str(group)) for group in np.unique(samples.group)
    }
    names = np.array([name_of[group] for group in samples.group])
    parts = {name: samples.select(names == name) for name in SPLITS}
    refuse_leakage(parts)
    return parts


def refuse_leakage(parts: dict[str, Prepared]) -> None:
    """Raise ``ValueError`` where a group, or a triplet's very pixels, are in two splits."""
    for attribute in ("group", "digest"):
        seen: dict[str, str] = {}
        for name, part in parts.items():
            for value in np.unique(getattr(part, attribute)):
                other = seen.setdefault(str(value), name)
                if other != name:
                    msg = f"leakage: {attribute} {value} is in {other} and in {name}"
                    raise ValueError(msg)


def fold_of(group: str, n_folds: int) -> int:
    """Fold of a group for cross-validation, by the hash of its name."""
    return int(hashlib.sha256(f"fold {group}".encode()).hexdigest()[:8], 16) % n_folds


def write_manifest(folder: Path, *, provenance: dict[str, Json]) -> dict[str, Json]:
    """Name every shard of a folder with its hash, counts and groups; returns the manifest.

    The data set's own hash is that of its shards' hashes in order, so that equal data have equal
    names wherever they lie.
    """
    shards = [describe_shard(path) for path in sorted(folder.glob("*.npz"))]
    joined = hashlib.sha256("\n".join(str(s["sha256"]) for s in shards).encode()).hexdigest()
    manifest = {
        "format": FORMAT,
        "sha256": joined,
        "provenance": provenance,
        "split": {"train": _TRAIN, "validation": _VALIDATION, "by": "SHA-256 of the group's name"},
        "shards": shards,
    }
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def describe_shard(path: Path) -> dict[str, Json]:
    """What a manifest says of one file of samples."""
    samples = TripletSamples.load(path)
    return {
        "file": path.name,
        "sha256": file_hash(path),
        "n_real": int(samples.is_real.sum()),
        "n_bogus": int((~samples.is_real).sum()),
        "surveys": sorted({str(name) for name in samples.survey}),
        "n_groups": len(np.unique(samples.group)),
    }


def read_manifest(folder: Path) -> dict[str, Json]:
    """The manifest of a data set.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is of another format.
    """
    path = folder / MANIFEST
    if not path.is_file():
        msg = f"{path}: no data set; make one with `manage.py build_triplets`"
        raise FileNotFoundError(msg)
    manifest: dict[str, Json] = json.loads(path.read_text(encoding="utf-8"))
    if manifest.get("format") not in {FORMAT, LISTED_FORMAT}:
        msg = f"{path}: format {manifest.get('format')!r} is not {FORMAT!r} or {LISTED_FORMAT!r}"
        raise ValueError(msg)
    return manifest


def load_dataset(folder: Path, *, surveys: Iterable[str] | None = None) -> Prepared:
    """Read, verify and normalise a data set.

    Parameters
    ----------
    folder : Path
        With a manifest.
    surveys : iterable of str, optional
        Only samples of these.

    Raises
    ------
    FileNotFoundError, ValueError
        If the manifest or a shard is absent, or a shard is not what the manifest names.
    """
    wanted = None if surveys is None else set(surveys)
    parts = []
    for shard in read_manifest(folder)["shards"]:
        if wanted is not None and not wanted & set(shard["surveys"]):
            continue
        path = folder / shard["file"]
        if file_hash(path) != shard["sha256"]:
            msg = f"{path}: not the file that the manifest names"
            raise ValueError(msg)
        samples = TripletSamples.load(path)
        if wanted is not None:
            samples = samples.select(np.isin(samples.survey, sorted(wanted)))
        if len(samples):
            parts.append(prepare(samples))
    if not parts:
        msg = f"{folder}: no samples of {sorted(wanted or [])}"
        raise ValueError(msg)
    return join_prepared(parts)


def load_delivered(folder: Path, *, survey: str, seed: int) -> Prepared:
    """The samples of a survey as others might have handed them over, in ``load_dataset``'s order.

    Raises
    ------
    FileNotFoundError, ValueError
        As ``load_dataset``.
    """
    rng = np.random.default_rng([seed, 66])
    parts = []
    for shard in read_manifest(folder)["shards"]:
        if survey in shard["surveys"]:
            samples = TripletSamples.load(folder / shard["file"])
            samples = samples.select(samples.survey == survey)
            changed = np.stack([deliver(triplet, rng) for triplet in samples.triplets])
            parts.append(prepare(replace(samples, triplets=changed)))
    if not parts:
        msg = f"{folder}: no samples of {survey}"
        raise ValueError(msg)
    return join_prepared(parts)


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
