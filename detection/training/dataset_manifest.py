"""A data set's manifest: every sample with its provenance, its side, and one digest of it all."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.training.cutout_quality import QualityRules, judge_cutouts
from detection.training.dataset_groups import (
    CELL_ORDER,
    Grouping,
    group_and_split,
    refuse_shared_keys,
)
from detection.training.labelled_cutouts import LabelledCutouts, Sample, cutout_digest
from detection.training.near_duplicates import near_duplicates
from detection.training.triplet_dataset import (
    LISTED_FORMAT,
    MANIFEST,
    SPLITS,
    describe_shard,
)
from detection.training.triplet_samples import TripletSamples

Json = Any
Progress = Callable[[float, str], object]

#: Triplets held in memory at once: 950 MB.
MAX_SAMPLES = 20_000
_A_SHARD = 512
_SAME, _CONTRADICTS = "same pixels as", "same pixels with the other label as"


@dataclass(frozen=True)
class Assembled:
    """What a data set will be: its manifest without files, and the triplets it lists in order."""

    manifest: dict[str, Json]
    triplets: NDArray[np.float32]

    @property
    def digest(self) -> str:
        """Hash of the whole."""
        return str(self.manifest["sha256"])


def assemble(
    cutouts: LabelledCutouts,
    *,
    rules: QualityRules,
    is_strict: bool = False,
    progress: Progress,
) -> Assembled:
    """Judge, group and split samples, and prove that nothing leaks.

    Parameters
    ----------
    cutouts : LabelledCutouts
        In the order of their keys, as ``join_cutouts`` gives them.
    rules : QualityRules
        What a triplet must keep to; those that do not are listed with their reasons.
    is_strict : bool
        See ``group_and_split``.
    progress : callable
        Gets the share that is done and words.

    Returns
    -------
    Assembled
        The same for the same inputs, byte by byte.

    Raises
    ------
    ValueError
        If there is nothing to learn from, too much to hold, or something leaks from side to side.
    """
    if len(cutouts) > MAX_SAMPLES:
        msg = f"{len(cutouts)} samples; a data set holds at most {MAX_SAMPLES}: choose fewer"
        raise ValueError(msg)
    digests = [cutout_digest(triplet) for triplet in cutouts.triplets]
    progress(0.1, "judging cutouts")
    reasons = _reasons(cutouts, digests, rules)
    kept = [i for i, found in enumerate(reasons) if not found]
    if not kept:
        msg = "no sample is left: " + (_most_common(reasons) or "nothing was labelled")
        raise ValueError(msg)
    samples, triplets = [cutouts.samples[i] for i in kept], cutouts.triplets[kept]
    progress(0.5, "looking for pictures that are there twice")
    same = near_duplicates(triplets)
    grouping = group_and_split(samples, same=same, is_strict=is_strict)
    sides = [grouping.side_of(i) for i in range(len(samples))]
    refuse_leakage(samples, sides, [digests[i] for i in kept], same=same, keys=grouping.keys)
    listed = [
        {**s.as_json(), "cutout_sha256": digests[i], "group": name, "split": side}
        for s, i, name, side in zip(samples, kept, grouping.names, sides, strict=True)
    ]
    left_out = [
        {"key": s.key, "is_real": s.is_real, "survey": s.survey, "reasons": found}
        for s, found in zip(cutouts.samples, reasons, strict=True)
        if found
    ]
    return Assembled(_manifest(listed, left_out, grouping, rules, cutouts.unlabelled), triplets)


def _reasons(
    cutouts: LabelledCutouts, digests: Sequence[str], rules: QualityRules
) -> list[list[str]]:
    """Why each sample is left out; empty lists for those that are kept."""
    found = judge_cutouts(cutouts.triplets, rules)
    first: dict[str, int] = {}
    labels: dict[str, set[bool]] = {}
    for sample, digest in zip(cutouts.samples, digests, strict=True):
        labels.setdefault(digest, set()).add(sample.is_real)
    for i, digest in enumerate(digests):
        other = first.setdefault(digest, i)
        if len(labels[digest]) > 1:
            twin = next(
                s.key
                for s, d in zip(cutouts.samples, digests, strict=True)
                if d == digest and s.is_real != cutouts.samples[i].is_real
            )
            found[i].append(f"{_CONTRADICTS} {twin}")
        elif other != i:
            found[i].append(f"{_SAME} {cutouts.samples[other].key}")
    return found


def refuse_leakage(
    samples: Sequence[Sample],
    sides: Sequence[str],
    digests: Sequence[str],
    *,
    same: Sequence[tuple[int, int]],
    keys: Sequence[str],
) -> None:
    """Raise ``ValueError`` where anything that belongs together, or a picture, is on two sides."""
    refuse_shared_keys(samples, sides, keys=keys)
    seen: dict[str, str] = {}
    for digest, side in zip(digests, sides, strict=True):
        if seen.setdefault(digest, side) != side:
            msg = f"leakage: pixels {digest[:12]} are in {seen[digest]} and in {side}"
            raise ValueError(msg)
    for i, j in same:
        if sides[i] != sides[j]:
            msg = (
                f"leakage: one picture is in {sides[i]} ({samples[i].key}) "
                f"and in {sides[j]} ({samples[j].key})"
            )
            raise ValueError(msg)


def _manifest(
    listed: list[dict[str, Json]],
    left_out: list[dict[str, Json]],
    grouping: Grouping,
    rules: QualityRules,
    unlabelled: Mapping[str, int],
) -> dict[str, Json]:
    body = {
        "format": LISTED_FORMAT,
        "rules": asdict(rules),
        "split": {
            "keeps_together": list(grouping.keys),
            "cell_order": CELL_ORDER,
            "cuts": list(grouping.cuts),
            "note": grouping.note,
        },
        "groups": dict(sorted(grouping.split.items())),
        "samples": listed,
        "left_out": left_out,
    }
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return {**body, "sha256": digest, "counts": count(listed, left_out, unlabelled)}


def count(
    listed: Sequence[Mapping[str, Json]],
    left_out: Sequence[Mapping[str, Json]],
    unlabelled: Mapping[str, int],
) -> dict[str, Json]:
    """Samples by side and class, by source, survey and kind; groups; why samples are left out."""
    classes = Counter((row["split"], row["is_real"]) for row in listed)
    rules = Counter(reason_name(text) for row in left_out for text in row["reasons"])
    return {
        "n": len(listed),
        "n_real": sum(row["is_real"] for row in listed),
        "n_bogus": sum(not row["is_real"] for row in listed),
        "splits": {
            side: {
                "real": classes[side, True],
                "bogus": classes[side, False],
                "groups": len({row["group"] for row in listed if row["split"] == side}),
            }
            for side in SPLITS
        },
        "sources": _tally(listed, "source"),
        "surveys": _tally(listed, "survey"),
        "kinds": _tally(listed, "kind"),
        "n_left_out": len(left_out),
        "reasons": dict(sorted(rules.items())),
        "unlabelled": dict(sorted(unlabelled.items())),
    }


def _tally(listed: Sequence[Mapping[str, Json]], name: str) -> dict[str, dict[str, int]]:
    """Real and bogus for each value of one column."""
    tally: dict[str, dict[str, int]] = {}
    for row in listed:
        entry = tally.setdefault(row[name] or "not told", {"real": 0, "bogus": 0})
        entry["real" if row["is_real"] else "bogus"] += 1
    return dict(sorted(tally.items()))


def reason_name(text: str) -> str:
    """A reason without its numbers and names, to be counted by."""
    if text.startswith((_SAME, _CONTRADICTS)):
        return text.rsplit(" ", 2)[0]
    return text.rsplit(" ", 3)[0]


def _most_common(reasons: Sequence[Sequence[str]]) -> str:
    tally = Counter(reason_name(text) for found in reasons for text in found)
    return "; ".join(f"{name} ({n})" for name, n in tally.most_common(3))


def write_dataset(folder: Path, assembled: Assembled, *, about: Mapping[str, Json]) -> None:
    """Write shards and manifest as ``load_dataset`` reads them; ``about`` is kept beside.

    What is in ``about`` (name, version, code) is not part of the digest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = assembled.manifest["samples"]
    for first in range(0, len(listed), _A_SHARD):
        rows = slice(first, first + _A_SHARD)
        _shard(listed[rows], assembled.triplets[rows]).save(
            folder / f"samples-{first // _A_SHARD:04d}.npz"
        )
    shards = [describe_shard(path) for path in sorted(folder.glob("samples-*.npz"))]
    manifest = {**assembled.manifest, "provenance": dict(about), "shards": shards}
    text = json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _shard(rows: Sequence[Mapping[str, Json]], triplets: NDArray[np.float32]) -> TripletSamples:
    return TripletSamples(
        triplets=np.ascontiguousarray(triplets, dtype=np.float32),
        is_real=np.array([row["is_real"] for row in rows], dtype=bool),
        kind=np.array([row["kind"] for row in rows], dtype=np.str_),
        group=np.array([row["group"] for row in rows], dtype=np.str_),
        survey=np.array([row["survey"] for row in rows], dtype=np.str_),
        snr=np.array([np.nan if row["snr"] is None else row["snr"] for row in rows], np.float64),
    )


def differences(
    new: Sequence[Mapping[str, Json]], old: Sequence[Mapping[str, Json]]
) -> dict[str, Json]:
    """What changed between the samples of two versions: counts, and a few keys of each."""
    after, before = ({row["key"]: row for row in rows} for rows in (new, old))
    both = sorted(after.keys() & before.keys())
    found = {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "relabelled": [k for k in both if after[k]["is_real"] != before[k]["is_real"]],
        "other_pixels": [
            k for k in both if after[k]["cutout_sha256"] != before[k]["cutout_sha256"]
        ],
        "other_side": [k for k in both if after[k]["split"] != before[k]["split"]],
    }
    return {name: {"n": len(keys), "keys": keys[:12]} for name, keys in found.items()}
