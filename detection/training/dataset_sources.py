"""Labelled cutouts from files: NPZ, folders of triplets, alert packets with a table of labels."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.algorithms.alert_packets import SIZE, Alert, read_alerts
from detection.training.labelled_cutouts import LabelledCutouts, Sample
from detection.training.triplet_dataset import file_hash, read_manifest
from detection.training.triplet_samples import TripletSamples
from detection.training.triplet_simulation import simulate_triplets

Json = Any

#: Seeds of skies simulated for a data set; those that the shipped network learnt from are others.
FIRST_SKY = 40_000_000
_LABELS = {"real": True, "bogus": False}
_TRUTHS = {"1": True, "true": True, "0": False, "false": False, **_LABELS}


@dataclass(frozen=True)
class Label:
    """What a table says of one alert; ``is_real`` None where it says neither."""

    is_real: bool | None
    kind: str


def simulated_cutouts(
    n_skies: int, *, seed: int, progress: Callable[[float, str], object]
) -> LabelledCutouts:
    """Injected sources and kinds of bogus on so many light simulated skies, each a night apart."""
    parts = []
    for i in range(n_skies):
        progress(i / n_skies, f"sky {i + 1} of {n_skies}")
        sky = FIRST_SKY + 1_000_000 * seed + i
        parts.append(_from_samples(simulate_triplets(sky), source="simulated", prefix=f"sky{sky}"))
    return _joined(parts)


def read_triplet_folder(folder: Path) -> LabelledCutouts:
    """All samples of a folder that ``manage.py build_triplets`` made.

    Raises
    ------
    FileNotFoundError, ValueError
        If it has no manifest, or a shard is not what the manifest names.
    """
    parts = []
    for shard in read_manifest(folder)["shards"]:
        path = folder / shard["file"]
        if file_hash(path) != shard["sha256"]:
            msg = f"{path}: not the file that the manifest names"
            raise ValueError(msg)
        parts.append(_from_samples(TripletSamples.load(path), source="simulated", prefix=path.stem))
    return _joined(parts)


def read_npz(path: Path) -> LabelledCutouts:
    """Labelled triplets of an NPZ file.

    Parameters
    ----------
    path : Path
        With ``triplets`` (n, 63, 63, 3); ``is_real`` or ``label`` ("real", "bogus"; others are
        left out); ``group``, ``objectId`` or ``object``, what must stay together; if there are,
        ``kind``, ``survey``, ``snr``, ``ra``, ``dec`` and ``mjd``.

    Raises
    ------
    ValueError
        If triplets, labels or groups are absent, or an array has another length.
    """
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    triplets = arrays.get("triplets")
    if triplets is None or triplets.ndim != 4 or triplets.shape[1:] != (SIZE, SIZE, 3):
        shape = None if triplets is None else triplets.shape
        msg = f"{path.name}: needs an array triplets of shape (n, {SIZE}, {SIZE}, 3), has {shape}"
        raise ValueError(msg)
    n = len(triplets)
    wrong = [name for name, values in arrays.items() if values.shape[:1] != (n,)]
    owners = next((arrays[k] for k in ("object", "objectId", "group") if k in arrays), None)
    truths = _truths(arrays)
    if wrong or owners is None or truths is None:
        msg = (
            f"{path.name}: needs is_real or label, and group or objectId, of the triplets' length; "
            f"it holds {', '.join(sorted(arrays))}" + (f"; wrong length: {wrong}" if wrong else "")
        )
        raise ValueError(msg)
    name = file_hash(path)[:12]
    rows = [i for i, truth in enumerate(truths) if truth is not None]
    samples = [
        _row_of_npz(arrays, i, key=f"npz:{name}:{i:06d}", owner=str(owners[i]), is_real=truths[i])
        for i in rows
    ]
    left = {"neither real nor bogus in the file": n - len(rows)} if n > len(rows) else {}
    return LabelledCutouts(samples, np.asarray(triplets[rows], dtype=np.float32), left)


def _truths(arrays: Mapping[str, NDArray[Any]]) -> list[bool | None] | None:
    if "is_real" in arrays:
        return [bool(value) for value in arrays["is_real"]]
    if "label" in arrays:
        return [_TRUTHS.get(str(value).lower()) for value in arrays["label"]]
    return None


def _row_of_npz(
    arrays: Mapping[str, NDArray[Any]], i: int, *, key: str, owner: str, is_real: bool | None
) -> Sample:
    def number(name: str) -> float | None:
        return _known(float(arrays[name][i])) if name in arrays else None

    def text(name: str, default: str) -> str:
        return str(arrays[name][i]) if name in arrays else default

    survey, mjd = text("survey", "NPZ"), number("mjd")
    return Sample(
        key=key,
        source="npz",
        survey=survey,
        is_real=bool(is_real),
        kind=text("kind", "real" if is_real else "bogus"),
        owner=owner,
        ra=number("ra"),
        dec=number("dec"),
        night="" if mjd is None else night_of(survey, mjd),
        group=text("group", ""),
        snr=number("snr"),
        labelled_by="the file",
    )


def read_alert_files(paths: Iterable[Path], *, labels: Mapping[str, Label]) -> LabelledCutouts:
    """Alerts of Avro files that a table says something about.

    Parameters
    ----------
    paths : iterable of Path
        Files, or folders with ``*.avro`` in them.
    labels : mapping of str to Label
        By the alert's own number, as ``read_labels`` reads them.

    Raises
    ------
    AvroError
        If a file is damaged.
    """
    samples, triplets, left = [], [], {"not in the table of labels": 0, "neither real nor bogus": 0}
    seen: set[str] = set()
    for path in _avro_files(paths):
        for alert in read_alerts(path):
            label = labels.get(alert.alert_id)
            key = f"alert:{alert.survey}:{alert.alert_id}"
            if label is None or label.is_real is None:
                left[
                    "not in the table of labels" if label is None else "neither real nor bogus"
                ] += 1
            elif key not in seen:
                seen.add(key)
                samples.append(_sample_of(alert, label, key=key, file=path.name))
                triplets.append(alert.triplet)
    stacked = np.stack(triplets) if triplets else np.empty((0, SIZE, SIZE, 3), np.float32)
    return LabelledCutouts(samples, stacked, {k: n for k, n in left.items() if n})


def read_labels(path: Path) -> dict[str, Label]:
    """Labels of alerts from a CSV table: ``candid`` or ``diaSourceId``, ``label``, ``kind``.

    ``kind`` may be absent.

    Raises
    ------
    ValueError
        If a column is absent.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    columns = set(rows[0]) if rows else set()
    number = next((c for c in ("candid", "diaSourceId", "alert_id") if c in columns), None)
    if number is None or "label" not in columns:
        msg = f"{path.name}: needs columns candid (or diaSourceId) and label"
        raise ValueError(msg)
    return {
        row[number]: Label(
            _LABELS.get(row["label"]),
            row.get("kind") or row.get("bogus_kind") or row["label"],
        )
        for row in rows
    }


def night_of(survey: str, mjd: float, *, longitude_deg: float = 0.0) -> str:
    """Survey and local night: the day that begins at noon by the sun at that longitude."""
    return f"{survey} {math.floor(mjd + longitude_deg / 360.0 - 0.5)}"


def _avro_files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.glob("*.avro")) if path.is_dir() else [path]


def _sample_of(alert: Alert, label: Label, *, key: str, file: str) -> Sample:
    return Sample(
        key=key,
        source="alert",
        survey=alert.survey,
        is_real=bool(label.is_real),
        kind=label.kind,
        owner=alert.object_id,
        ra=alert.ra,
        dec=alert.dec,
        night=night_of(alert.survey, alert.mjd),
        snr=_known(alert.snr),
        labelled_by="the table",
        detail={"file": file, "band": alert.band},
    )


def _from_samples(samples: TripletSamples, *, source: str, prefix: str) -> LabelledCutouts:
    rows = [
        Sample(
            key=f"{source}:{prefix}:{i:05d}",
            source=source,
            survey=str(samples.survey[i]),
            is_real=bool(samples.is_real[i]),
            kind=str(samples.kind[i]),
            group=str(samples.group[i]),
            snr=_known(float(samples.snr[i])),
            labelled_by="simulated truth",
        )
        for i in range(len(samples))
    ]
    return LabelledCutouts(rows, samples.triplets)


def _joined(parts: list[LabelledCutouts]) -> LabelledCutouts:
    triplets = [part.triplets for part in parts] or [np.empty((0, SIZE, SIZE, 3), np.float32)]
    return LabelledCutouts([s for part in parts for s in part.samples], np.concatenate(triplets))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
