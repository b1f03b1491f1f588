"""Data sets as rows: cutouts of labelled candidates gathered, proved, kept, compared, opened."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from django.db import transaction

from astrid_site.core import audit
from astrid_site.core.errors import ApplicationError
from astrid_site.core.events import publish
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.provenance import code_version
from astrid_site.core.storage import local_copy, put_bytes, put_file
from astrid_site.imaging.scratch import scratch_folder
from detection.models import DataSet, Detection, ScoringModel, TrainingRun
from detection.training.enough_labels import problems

if TYPE_CHECKING:
    from detection.training.cutout_quality import QualityRules
    from detection.training.dataset_manifest import Assembled
    from detection.training.labelled_cutouts import LabelledCutouts, Sample

Progress = Callable[[float, str], object]

MANIFEST = "manifest.json"
_ZIP_TYPE = "application/zip"
#: Every file in the ZIP bears this time: the same content is the same file.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class CandidateLabel:
    """What people say of one candidate, as those who may see their verdicts tell it."""

    detection_id: UUID
    is_real: bool
    kind: str
    role: str
    at: datetime
    owner: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """A data set that is computed and kept, and not yet written down."""

    digest: str
    manifest: dict[str, Any]
    file: StoredFile
    mosaic: StoredFile | None
    changes: dict[str, Any]


def candidate_cutouts(labels: Sequence[CandidateLabel], *, progress: Progress) -> LabelledCutouts:
    """Science, template and difference of labelled candidates, from the cutouts kept of them."""
    from detection.training.labelled_cutouts import LabelledCutouts

    label_of = {label.detection_id: label for label in labels}
    rows = Detection.objects.filter(pk__in=label_of).select_related(
        "run__cutouts_file", "observation__survey"
    )
    by_run: dict[UUID, list[Detection]] = {}
    for row in rows.order_by("run_id", "index"):
        by_run.setdefault(row.run_id, []).append(row)
    samples: list[Sample] = []
    parts = []
    n_gone = 0
    for i, members in enumerate(by_run.values()):
        progress(i / len(by_run), f"cutouts of search {i + 1} of {len(by_run)}")
        stored = members[0].run.cutouts_file
        if stored is None:
            n_gone += len(members)
            continue
        with local_copy(stored) as path:
            stack = np.load(path, mmap_mode="r", allow_pickle=False)
            cut = np.asarray(stack[[row.index for row in members], :3], dtype=np.float32)
        parts.append(np.moveaxis(cut, 1, -1))
        samples += [_sample(row, label_of[row.pk]) for row in members]
    triplets = np.concatenate(parts) if parts else np.empty((0, 63, 63, 3), np.float32)
    return LabelledCutouts(samples, triplets, {"cutouts not kept": n_gone} if n_gone else {})


def _sample(row: Detection, label: CandidateLabel) -> Sample:
    from detection.training.dataset_sources import night_of
    from detection.training.labelled_cutouts import Sample

    survey, mjd = row.observation.survey.name, row.observation.mid_mjd
    return Sample(
        key=f"verdict:{row.pk}",
        source="verdict",
        survey=survey,
        is_real=label.is_real,
        kind=label.kind,
        owner=label.owner,
        ra=row.ra,
        dec=row.dec,
        # a frame without a time is a night of its own
        night=f"{survey} {row.observation_id}" if mjd is None else night_of(survey, mjd),
        snr=abs(row.flux / row.flux_error),
        labelled_by=label.role,
        labelled_at=label.at.isoformat(timespec="seconds"),
        detail={**label.detail, "observation": str(row.observation_id)},
    )


def build(
    dataset: DataSet, cutouts: LabelledCutouts, *, rules: QualityRules, progress: Progress
) -> Built:
    """Judge, split, prove and keep the samples of a data set that is asked for.

    Raises
    ------
    ApplicationError
        If nothing is left to learn from, or something leaks between the sides.
    """
    from detection.training.dataset_manifest import assemble, differences

    try:
        assembled = assemble(
            cutouts,
            rules=rules,
            is_strict=bool(dataset.parameters.get("is_strict")),
            progress=progress,
        )
    except ValueError as error:
        raise ApplicationError(str(error)) from error
    progress(0.8, "keeping the cutouts")
    before = latest_version(dataset.name)
    changes = {}
    if before is not None:
        old = read_manifest(before)
        changes = {"version": before.version, "id": str(before.pk)} | differences(
            assembled.manifest["samples"], old["samples"]
        )
    return Built(
        digest=assembled.digest,
        manifest=assembled.manifest,
        file=_keep(dataset, assembled),
        mosaic=_picture(assembled),
        changes=changes,
    )


def _keep(dataset: DataSet, assembled: Assembled) -> StoredFile:
    from detection.training.dataset_manifest import write_dataset

    about = {"name": dataset.name, "parameters": dataset.parameters, "code": code_version()}
    with scratch_folder() as folder:
        write_dataset(folder / "data", assembled, about=about)
        path = folder / "data.zip"
        _pack(folder / "data", path)
        return put_file(
            path,
            kind=FileKind.DATASET,
            name=f"{dataset.name}-{assembled.digest[:12]}.zip".replace(" ", "-"),
            media_type=_ZIP_TYPE,
        )


def _pack(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for part in sorted(folder.iterdir()):
            kind = zipfile.ZIP_DEFLATED if part.suffix == ".json" else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(part.name, _EPOCH), part.read_bytes(), kind)


def _picture(assembled: Assembled) -> StoredFile | None:
    from detection.training.dataset_mosaic import choose_shown, draw_mosaic

    shown = choose_shown(assembled.manifest["samples"])
    if not shown:
        return None
    return put_bytes(
        draw_mosaic(assembled.triplets[shown]),
        kind=FileKind.PREVIEW,
        name=f"samples-{assembled.digest[:12]}.png",
        media_type="image/png",
    )


def same_version(dataset: DataSet, digest: str) -> DataSet | None:
    """The version of that name that holds just the same; None where there is none."""
    return DataSet.objects.filter(name=dataset.name, digest=digest).first()


def save_built(dataset: DataSet, built: Built) -> None:
    """Write a data set down as the next version of its name, in the caller's transaction."""
    from detection.training.dataset_mosaic import choose_shown

    with transaction.atomic():
        # the versions of one name are counted one after the other
        rows = DataSet.objects.select_for_update().filter(name=dataset.name)
        latest = max((row.version or 0 for row in rows), default=0)
        listed = built.manifest["samples"]
        dataset.version = latest + 1
        dataset.digest = built.digest
        dataset.counts = {
            **built.manifest["counts"],
            "split": built.manifest["split"],
            "rules": built.manifest["rules"],
            "shown": [_shown(listed[i]) for i in choose_shown(listed)],
        }
        dataset.changes = built.changes
        dataset.file = built.file
        dataset.mosaic_file = built.mosaic
        dataset.code_version = code_version()
        dataset.save()
        audit.record(
            dataset.requested_by,
            "dataset.built",
            dataset,
            after={"dataset": str(dataset), "digest": built.digest},
        )
        publish("dataset.built", subject_id=dataset.pk, payload={"dataset": str(dataset)})


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("key", "source", "survey", "is_real", "kind", "split", "labelled_by", "snr")
    return {name: row[name] for name in names}


def latest_version(name: str) -> DataSet | None:
    """The newest version of a name that is built."""
    rows = DataSet.objects.filter(name=name, version__isnull=False).select_related("file")
    return rows.order_by("-version").first()


def read_manifest(dataset: DataSet) -> dict[str, Any]:
    """The manifest of a data set that is built."""
    if dataset.file is None:
        msg = f"{dataset} holds nothing"
        raise ApplicationError(msg)
    with local_copy(dataset.file) as path, zipfile.ZipFile(path) as archive:
        manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
    return manifest


@contextmanager
def opened(dataset: DataSet) -> Iterator[Path]:
    """A folder with manifest and shards, as training reads them, while the block lasts."""
    if dataset.file is None:
        msg = f"{dataset} holds nothing to learn from"
        raise ApplicationError(msg)
    with scratch_folder() as folder, local_copy(dataset.file) as path:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                # names are ours, and yet no ZIP leaves its folder
                (folder / Path(name).name).write_bytes(archive.read(name))
        yield folder


def rules_of(parameters: Mapping[str, Any]) -> QualityRules:
    """The quality rules that a data set is asked for with; those of the seed where none are."""
    from detection.training.cutout_quality import QualityRules

    return QualityRules(**{**asdict(QualityRules()), **parameters.get("rules", {})})


def lacking(dataset: DataSet) -> list[str]:
    """What a data set lacks to be learnt from, in words."""
    if not dataset.digest:
        return ["it is not built yet"]
    return problems(dataset.counts)


def learnt_sky(model: ScoringModel) -> set[str]:
    """Sky cells of the candidates that a model learnt from, and the networks it came from.

    The cell is ``healpix14 >> 12``; a candidate without a place stands for itself. What it was
    judged on is not among them.
    """
    keys: set[str] = set()
    runs = TrainingRun.objects.select_related("dataset__file")
    run = runs.filter(model=model).first()
    while run is not None:
        samples = read_manifest(run.dataset)["samples"]
        keys |= {
            row["key"].removeprefix("verdict:")
            for row in samples
            if row["source"] == "verdict" and row["split"] != "test"
        }
        run = runs.filter(model=run.start_id).first()
    places = Detection.objects.filter(pk__in=keys).values_list("pk", "healpix14")
    return {str(key) if sky is None else str(sky >> 12) for key, sky in places}
