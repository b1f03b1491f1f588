"""Taking a file in: gated and understood before anything of it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from astrid_site.core.errors import ApplicationError
from astrid_site.core.events import publish
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.status import RunStatus
from astrid_site.core.storage import put_file
from astrid_site.imaging.errors import ImageReadError
from observations.models import Observation, Survey
from observations.services.frames import metadata_of
from observations.services.overrides import parse_overrides
from observations.services.runs import clean_json

if TYPE_CHECKING:
    from astrid_site.accounts.models import User
    from astrid_site.imaging.fits_io import HeaderRecord
    from observations.algorithms.headers import ObservationMetadata

_MEDIA_TYPE = "application/fits"


@dataclass(frozen=True)
class IngestResult:
    """What became of one file."""

    observation: Observation | None
    outcome: Literal["created", "duplicate", "refused"]
    reason: str
    code: str
    file_name: str


@dataclass(frozen=True)
class _Frame:
    """A file that was understood, not yet stored."""

    path: Path
    file_name: str
    sha256: str
    record: HeaderRecord
    metadata: ObservationMetadata
    overrides: dict[str, Any]
    companions: dict[str, Path]
    place: dict[str, Any]
    defects: list[str]


class _RefusedError(Exception):
    """The file cannot be taken in."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


def ingest_file(
    path: Path,
    *,
    survey: Survey,
    file_name: str,
    overrides: Mapping[str, Any] | None = None,
    companions: Mapping[str, Path] | None = None,
    submitted_by: User | None = None,
    dry_run: bool = False,
) -> IngestResult:
    """Take one file in: observation, first job and event in one transaction, or nothing.

    The bytes pass the gate and the header is understood before anything is stored. The same bytes
    are a duplicate; other bytes under a known observation id are refused. Bad files raise
    nothing: the outcome says ``refused``, with a reason for people and a code for programs.
    """
    file_name = PurePath(file_name.replace("\\", "/")).name[:255] or path.name
    try:
        values = parse_overrides(overrides or {})
        sha256 = _digest(path)
        if known := _find_same_bytes(survey, sha256):
            return _duplicate(known, file_name)
        frame = _understand(
            path, survey, file_name=file_name, sha256=sha256, overrides=values,
            companions=dict(companions or {}),
        )  # fmt: skip
        name = _observation_id(survey, frame)
        if dry_run:
            return IngestResult(None, "created", "would be taken in", "", file_name)
        observation = _store(frame, survey, name=name, submitted_by=submitted_by)
    except ImageReadError as error:
        return IngestResult(None, "refused", str(error), error.code, file_name)
    except ApplicationError as error:
        return IngestResult(None, "refused", f"{file_name}: {error}", "bad_override", file_name)
    except _RefusedError as error:
        if error.code == "conflict" and (twin := _find_same_bytes(survey, sha256)):
            # the same bytes, sent at the same moment, were stored after our first look
            return _duplicate(twin, file_name)
        return IngestResult(None, "refused", f"{file_name}: {error.reason}", error.code, file_name)
    except IntegrityError:
        # another process took the same file in between our look and our write
        return _lost_race(survey, sha256, file_name)
    return IngestResult(observation, "created", "", "", file_name)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _find_same_bytes(survey: Survey, sha256: str) -> Observation | None:
    return Observation.objects.filter(survey=survey, raw_file__sha256=sha256).first()


def _duplicate(known: Observation, file_name: str) -> IngestResult:
    reason = f"the same bytes are observation {known.observation_id} already"
    return IngestResult(known, "duplicate", reason, "duplicate", file_name)


def _lost_race(survey: Survey, sha256: str, file_name: str) -> IngestResult:
    known = _find_same_bytes(survey, sha256)
    if known is not None:
        return _duplicate(known, file_name)
    reason = f"{file_name}: another file with this observation id was taken in at the same moment"
    return IngestResult(None, "refused", reason, "conflict", file_name)


def _understand(
    path: Path,
    survey: Survey,
    *,
    file_name: str,
    sha256: str,
    overrides: dict[str, Any],
    companions: dict[str, Path],
) -> _Frame:
    """Gate the file and its companions and read what the header says."""
    from astrid_site.imaging.fits_io import read_header

    hdu = int(survey.image_hdu) if survey.image_hdu.isdigit() else survey.image_hdu or None
    record = read_header(path, file_name=file_name, hdu=hdu)
    metadata = metadata_of(record.header, survey=survey, file_name=file_name, now=timezone.now())
    _check_companions(companions, shape=record.shape)
    defects = [*metadata.defects, *record.warnings]
    if metadata.band is None and "band" not in overrides:
        defects.append(f"no band: {metadata.band_source}")
    place: dict[str, Any] = {}
    if record.wcs_problem:
        defects.append(f"no world coordinates: {record.wcs_problem}")
    elif record.wcs_header is not None:
        place = _place(record, defects)
    return _Frame(
        path=path,
        file_name=file_name,
        sha256=sha256,
        record=record,
        metadata=metadata,
        overrides=overrides,
        companions=companions,
        place=place,
        defects=defects,
    )


def _check_companions(companions: Mapping[str, Path], *, shape: tuple[int, int]) -> None:
    from astrid_site.imaging.fits_io import read_header

    for what, path in companions.items():
        found = read_header(path, file_name=path.name).shape
        if what != "psf" and found != shape:
            reason = (
                f"its {what} {path.name} has {found[1]} x {found[0]} pixels, "
                f"the frame {shape[1]} x {shape[0]}"
            )
            raise _RefusedError(reason, "companion_shape")


def _place(record: HeaderRecord, defects: list[str]) -> dict[str, Any]:
    """Where the frame claims to lie."""
    from astrid_site.imaging.healpix import nested_index, wrap_ra
    from astrid_site.imaging.wcs_header import build_wcs
    from observations.algorithms.footprint import measure_footprint

    if record.wcs_header is None:
        return {}
    try:
        outline = measure_footprint(build_wcs(record.wcs_header), record.shape)
    except ValueError as error:
        defects.append(f"world coordinates without a footprint: {error}")
        return {}
    return {
        "ra": wrap_ra(outline.ra),
        "dec": outline.dec,
        "healpix14": nested_index(outline.ra, outline.dec),
        "radius_deg": outline.radius_deg,
        "footprint": [list(corner) for corner in outline.corners],
        "pixel_scale_arcsec": outline.pixel_scale_arcsec,
    }


def _observation_id(survey: Survey, frame: _Frame) -> str:
    """The id a person or the header gives, else the file's name; other bytes under it refuse."""
    given = frame.overrides.get("observation_id") or frame.metadata.observation_id
    stem = frame.file_name.split(".")[0] or frame.sha256[:12]
    name = str(given or stem)[:240]
    if not Observation.objects.filter(survey=survey, observation_id=name).exists():
        return name
    if given is None:
        # cameras number their files anew every night: the name alone tells nothing apart
        return f"{name}~{frame.sha256[:12]}"
    reason = (
        f"observation id {name!r} of survey {survey.name} belongs to other bytes; "
        "give this frame an id of its own (observation_id in the sidecar table) if it is another"
    )
    raise _RefusedError(reason, "conflict")


def _store(frame: _Frame, survey: Survey, *, name: str, submitted_by: User | None) -> Observation:
    """Keep the bytes, then write the rows; bytes without a row are collected as garbage."""
    raw = _keep(frame.path, FileKind.RAW, frame.file_name)
    kept = {
        f"{what}_file": _keep(path, FileKind.COMPANION, path.name)
        for what, path in frame.companions.items()
    }
    with transaction.atomic():
        observation = Observation.objects.create(
            survey=survey,
            observation_id=name,
            raw_file=raw,
            raw_hdu=str(frame.record.hdu),
            image_width=frame.record.shape[1],
            image_height=frame.record.shape[0],
            header=clean_json(frame.record.header),
            overrides=frame.overrides,
            defects=frame.defects,
            submitted_by=submitted_by,
            status=RunStatus.PENDING,
            stage="preprocess",
            **_described(frame),
            **frame.place,
            **kept,
        )
        # the table of stages lives above this app; it is reached by name, as the ledger does
        import_module(settings.PIPELINE).start(observation)
        publish(
            "observation.changed",
            subject_id=observation.pk,
            payload={"status": str(RunStatus.PENDING), "stage": "preprocess", "reason": ""},
        )
    return observation


def _keep(path: Path, kind: FileKind, name: str) -> StoredFile:
    return put_file(path, kind=kind, name=name, media_type=_MEDIA_TYPE)


def _described(frame: _Frame) -> dict[str, Any]:
    """Columns that header and overrides fill."""
    said, override = frame.metadata, frame.overrides
    started, ended, middle, exposure = _times(frame)
    scale = {} if frame.place else {"pixel_scale_arcsec": said.pixel_scale_arcsec}
    return {
        "target": str(override.get("target") or said.target or "")[:120],
        "telescope": (said.telescope or "")[:80],
        "instrument": (said.instrument or "")[:80],
        "detector": (said.detector or "")[:40],
        "band": str(override.get("band") or said.band or "")[:30],
        "observed_at": started,
        "ended_at": ended,
        "mid_mjd": middle,
        "exposure_s": exposure,
        "airmass": said.airmass,
        "role": override.get("role", Observation.Role.AUTO),
        "is_simulated": said.is_simulated,
        **scale,
    }


def _times(
    frame: _Frame,
) -> tuple[datetime | None, datetime | None, float | None, float | None]:
    """Start, end, middle and length; a start given by a person voids the header's other times."""
    from observations.algorithms.times import to_mjd

    said, override = frame.metadata, frame.overrides
    exposure = override.get("exposure_s", said.exposure_s)
    if "observed_at" not in override and "exposure_s" not in override:
        return said.observed_at, said.ended_at, said.mid_mjd, exposure
    text = override.get("observed_at")
    started = datetime.fromisoformat(text).astimezone(UTC) if text else said.observed_at
    if started is None:
        return None, None, None, exposure
    ended = started + timedelta(seconds=exposure) if exposure else None
    middle = to_mjd(started + (ended - started) / 2) if ended else None
    return started, ended, middle, exposure
