"""Taking a file in: gated and understood before anything of it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from django.conf import settings
from django.db import IntegrityError, transaction

from astrid_site.core.errors import ApplicationError
from astrid_site.core.events import publish
from astrid_site.core.models import FileKind
from astrid_site.core.status import RunStatus
from astrid_site.core.storage import put_file
from astrid_site.imaging.errors import ImageReadError
from observations.models import Observation, Survey
from observations.services.overrides import parse_overrides
from observations.services.reading import (
    Frame,
    RefusedError,
    calibration_kind,
    describe,
    understand,
)
from observations.services.revision import (
    FITS_MEDIA_TYPE,
    changed_fields,
    digest,
    keep_companions,
    revise,
)
from observations.services.runs import clean_json

if TYPE_CHECKING:
    from astrid_site.accounts.models import User


@dataclass(frozen=True)
class IngestResult:
    """What became of one file."""

    observation: Observation | None
    outcome: Literal["created", "updated", "duplicate", "refused"]
    reason: str
    code: str
    file_name: str


def ingest_file(
    path: Path,
    *,
    survey: Survey,
    file_name: str,
    overrides: Mapping[str, Any] | None = None,
    companions: Mapping[str, Path] | None = None,
    companion_names: Mapping[str, str] | None = None,
    submitted_by: User | None = None,
    dry_run: bool = False,
) -> IngestResult:
    """Take one file in: observation, first job and event in one transaction, or nothing.

    The bytes pass the gate and the header is understood before anything is stored. The same bytes
    are a duplicate, unless other overrides or companions come with them: then the observation is
    corrected and begins anew. Other bytes under a known observation id are refused. Bad files raise
    nothing: the outcome says ``refused``, with a reason for people and a code for programs.
    """
    file_name = last_part(file_name) or path.name
    try:
        values = parse_overrides(overrides or {})
        sha256 = digest(path)
        known = _find_same_bytes(survey, sha256)
        changed = changed_fields(known, values, companions or {}) if known else ()
        if known and not changed:
            return _duplicate(known, file_name)
        frame = understand(
            path, survey, file_name=file_name, sha256=sha256, overrides=values,
            companions=dict(companions or {}), companion_names=_clean(companion_names),
        )  # fmt: skip
        if known:
            reason = revise(known, frame, changed=changed, actor=submitted_by, dry_run=dry_run)
            return IngestResult(known, "updated", reason, "", file_name)
        kind = calibration_kind(frame)
        if kind is not None:
            # masters live above this app; they are reached by name, as the table of stages is
            return import_module(settings.CALIBRATION).take_calibration_frame(  # type: ignore[no-any-return]
                frame, kind=kind, survey=survey, submitted_by=submitted_by, dry_run=dry_run
            )
        name = _observation_id(survey, frame)
        if dry_run:
            return IngestResult(None, "created", "would be taken in", "", file_name)
        observation = _store(frame, survey, name=name, submitted_by=submitted_by)
    except ImageReadError as error:
        return IngestResult(None, "refused", str(error), error.code, file_name)
    except ApplicationError as error:
        return IngestResult(None, "refused", f"{file_name}: {error}", "bad_override", file_name)
    except RefusedError as error:
        if not known and error.code == "conflict" and (twin := _find_same_bytes(survey, sha256)):
            # the same bytes, sent at the same moment, were stored after our first look
            return _duplicate(twin, file_name)
        return IngestResult(None, "refused", f"{file_name}: {error.reason}", error.code, file_name)
    except IntegrityError:
        # another process took the same file in between our look and our write
        return _lost_race(survey, sha256, file_name)
    return IngestResult(observation, "created", "", "", file_name)


def last_part(name: str) -> str:
    """A file's name without the folders that some browsers send with it."""
    return PurePath(name.replace("\\", "/")).name[:255]


def _clean(names: Mapping[str, str] | None) -> dict[str, str]:
    return {what: clean for what, name in (names or {}).items() if (clean := last_part(name))}


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


def _observation_id(survey: Survey, frame: Frame) -> str:
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
    raise RefusedError(reason, "conflict")


def _store(frame: Frame, survey: Survey, *, name: str, submitted_by: User | None) -> Observation:
    """Keep the bytes, then write the rows; bytes without a row are collected as garbage."""
    raw = put_file(frame.path, kind=FileKind.RAW, name=frame.file_name, media_type=FITS_MEDIA_TYPE)
    kept = keep_companions(frame)
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
            **describe(frame),
            **frame.place,
            **kept,
        )
        # the table of stages lives above this app; it is reached by name, as the ledger does
        import_module(settings.CONTROL).start(observation)
        publish(
            "observation.changed",
            subject_id=observation.pk,
            payload={"status": str(RunStatus.PENDING), "stage": "preprocess", "reason": ""},
        )
    return observation
