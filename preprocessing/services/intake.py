"""Taking in calibration frames: kept beside the observations, never worked on as science."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from astrid_site.core import jobs
from astrid_site.core.jobs import NextJob
from astrid_site.core.models import FileKind
from astrid_site.core.storage import put_file
from observations.algorithms.frame_kinds import read_readout
from observations.models import Survey
from observations.services.ingest import IngestResult
from observations.services.reading import Frame, describe
from observations.services.revision import FITS_MEDIA_TYPE
from observations.services.runs import clean_json
from preprocessing.models import CalibrationFrame, CalibrationKind, Camera

if TYPE_CHECKING:
    from uuid import UUID

    from astrid_site.accounts.models import User

#: Kind of the job that builds the masters of a camera; the camera is its subject.
BUILD_KIND = "build_masters"
#: Raised when the same frames would give other masters.
MASTERS_VERSION = "1"
#: Frames of a night come one after the other; the first must not start a build alone.
_WAIT_FOR_MORE_S = 5.0


def build_job(camera_id: UUID, *, wait_s: float = 0.0) -> NextJob:
    """The job that builds what is missing of a camera's masters."""
    # before any observation's work: those that wait for masters can then go on
    return NextJob(
        kind=BUILD_KIND,
        subject_id=camera_id,
        config_version=MASTERS_VERSION,
        priority=100,
        not_before_s=wait_s,
    )


def request_build(camera: Camera) -> None:
    """Have a camera's masters built anew where what they are made with was changed."""
    jobs.submit(build_job(camera.pk), revive=True)


def take_calibration_frame(
    frame: Frame, *, kind: str, survey: Survey, submitted_by: User | None, dry_run: bool
) -> IngestResult:
    """Keep a bias, dark or flat, and have its camera's masters built; or say it is here already."""
    name = frame.file_name
    known = CalibrationFrame.objects.filter(
        camera__survey=survey, file__sha256=frame.sha256
    ).first()
    if known is not None:
        reason = f"the same bytes are {known.kind} frame {known.name} already"
        return IngestResult(None, "duplicate", reason, "duplicate", name)
    said = describe(frame)
    reason = f"a {kind} frame: kept for calibration, not searched"
    if dry_run:
        return IngestResult(None, "created", f"would be taken in as {reason}", "", name)
    stored = put_file(frame.path, kind=FileKind.RAW, name=name, media_type=FITS_MEDIA_TYPE)
    cards = read_readout(frame.record.header)
    height, width = frame.record.shape
    with transaction.atomic():
        camera, _ = Camera.objects.get_or_create(
            survey=survey,
            instrument=said["instrument"],
            detector=said["detector"],
            width=width,
            height=height,
            binning=cards.binning,
            mode=cards.mode,
        )
        CalibrationFrame.objects.get_or_create(
            camera=camera,
            file=stored,
            defaults={
                "kind": kind,
                "name": name,
                "hdu": str(frame.record.hdu),
                "band": said["band"] if kind == CalibrationKind.FLAT else "",
                # some cameras write a bias without any exposure time
                "exposure_s": said["exposure_s"],
                "temperature_c": cards.temperature_c,
                "observed_at": said["observed_at"],
                "header": clean_json(frame.record.header),
                "is_simulated": said["is_simulated"],
                "submitted_by": submitted_by,
            },
        )
        jobs.submit(build_job(camera.pk, wait_s=_WAIT_FOR_MORE_S), revive=True)
    return IngestResult(None, "created", reason, "calibration_frame", name)
