"""Building masters of calibration frames, and keeping them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction

from astrid_site.core.events import publish
from astrid_site.core.jobs import JobContext, NextJob, Outcome
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.provenance import code_version
from astrid_site.core.stages import Progress
from astrid_site.core.status import JobState
from astrid_site.imaging.errors import AlgorithmError, ImageReadError
from observations.services.runs import clean_json
from preprocessing.models import CalibrationFrame, CalibrationKind, CalibrationMaster, Camera
from preprocessing.selectors import Moment, match_dark, usable_masters
from preprocessing.services.camera_properties import measure_camera
from preprocessing.services.frame_sets import FrameSet, plan_sets
from preprocessing.services.intake import MASTERS_VERSION, build_job
from preprocessing.services.late_masters import begin_anew, find_late
from preprocessing.services.products import load_image, store_image, store_preview
from preprocessing.services.stacking import Ingredients, combine_set

if TYPE_CHECKING:
    from preprocessing.algorithms.masters import Comparison, Master

_PICTURE_PIX = 512
#: For how long before and after its frames a master is used.
_VALID = {
    CalibrationKind.BIAS: timedelta(days=365),
    CalibrationKind.DARK: timedelta(days=365),
    CalibrationKind.FLAT: timedelta(days=90),
}


@dataclass(frozen=True)
class BuildResult:
    """What became of one set of frames."""

    label: str
    outcome: str
    reason: str
    n_frames: int
    master: CalibrationMaster | None = None


def run_build_job(context: JobContext) -> Outcome:
    """Build what is missing of a camera's masters; again if frames came meanwhile."""
    camera = Camera.objects.select_related("survey").get(pk=context.subject_id)
    frames = CalibrationFrame.objects.filter(camera=camera)
    n_before = frames.count()
    results = build_masters(camera, progress=context.progress)
    is_new = any(result.outcome == "built" for result in results)
    late = find_late(camera) if is_new else []

    def save() -> Sequence[NextJob]:
        if told := begin_anew(late):
            camera.warnings = [*camera.warnings, told]
            camera.save(update_fields=["warnings"])
        return [build_job(camera.pk)] if frames.count() != n_before else []

    return Outcome(JobState.DONE, save=save)


def build_masters(
    camera: Camera, *, progress: Progress | None = None, dry_run: bool = False
) -> list[BuildResult]:
    """Build every master of a camera that its frames allow and that is not there yet.

    Each master is kept as soon as it is made: frames, ways of making it and masters made with are
    its name, so that doing it twice changes nothing.
    """
    sets, warnings = plan_sets(camera)
    if dry_run:
        return [_look_at(camera, frame_set) for frame_set in sets]
    results = []
    for number, frame_set in enumerate(sets):
        if progress is not None:
            progress(number / len(sets), f"combining {frame_set}")
        results.append(_build_set(camera, frame_set))
    failed = [f"{result.label}: {result.reason}" for result in results if result.reason]
    if any(result.outcome == "built" for result in results):
        warnings += measure_camera(camera, sets)
    elif not failed and camera.measured_at is not None:
        warnings += [text for text in camera.warnings if text not in warnings]
    camera.warnings = warnings + failed
    camera.save(update_fields=["warnings"])
    return results


def _look_at(camera: Camera, frame_set: FrameSet) -> BuildResult:
    """Whether a set's frames are in a master already; which one, only building them can tell."""
    frames = CalibrationMaster.objects.filter(
        camera=camera, kind=frame_set.kind, superseded_by__isnull=True, frames__in=frame_set.frames
    )
    known = frames.distinct().first()
    n_frames = len(frame_set.frames)
    if known is not None and known.frames.count() == n_frames:
        return BuildResult(str(frame_set), "known", "", n_frames, known)
    return BuildResult(str(frame_set), "would be built", "", n_frames)


def _build_set(camera: Camera, frame_set: FrameSet) -> BuildResult:
    label, n_frames = str(frame_set), len(frame_set.frames)
    try:
        made_with = _ingredients(camera, frame_set)
        digest = frame_set.digest(MASTERS_VERSION, *made_with.names())
        known = CalibrationMaster.objects.filter(camera=camera, digest=digest).first()
        if known is not None:
            return BuildResult(label, "known", "", n_frames, known)
        master, used = combine_set(camera, frame_set, made_with)
    except (AlgorithmError, ImageReadError) as error:
        return BuildResult(label, "failed", str(error), n_frames)
    row = _keep(camera, frame_set, master, made_with=made_with, used=used, digest=digest)
    return BuildResult(label, "built", "", len(used), row)


def _ingredients(camera: Camera, frame_set: FrameSet) -> Ingredients:
    """The masters that the frames of a set are freed of before they are combined."""
    if frame_set.kind == CalibrationKind.BIAS:
        return Ingredients(camera)
    bias = next(iter(usable_masters(camera, CalibrationKind.BIAS, frame_set.first)), None)
    dark = None
    if frame_set.kind == CalibrationKind.FLAT:
        longest = max((frame.exposure_s or 0.0 for frame in frame_set.frames), default=0.0)
        moment = Moment(frame_set.first, longest or None, frame_set.temperature_c)
        dark, _ = match_dark(camera, moment, has_bias=bias is not None, notes=[])
        if bias is None and dark is None:
            msg = "no master bias or dark to free the flats of their pedestal"
            raise AlgorithmError(msg, n_frames=len(frame_set.frames))
    return Ingredients(camera, bias=bias, dark=dark)


def _keep(
    camera: Camera,
    frame_set: FrameSet,
    master: Master,
    *,
    made_with: Ingredients,
    used: Sequence[CalibrationFrame],
    digest: str,
) -> CalibrationMaster:
    """Store a master and its row, and retire those of the same frames."""
    previous, comparison = _compare(camera, frame_set, master, used=used)
    file, preview = _store(camera, frame_set, master)
    valid = _VALID[CalibrationKind(frame_set.kind)]
    with transaction.atomic():
        row, is_new = CalibrationMaster.objects.get_or_create(
            camera=camera,
            digest=digest,
            defaults={
                "kind": frame_set.kind,
                "band": frame_set.band,
                "exposure_s": frame_set.exposure_s,
                "temperature_c": frame_set.temperature_c,
                "observed_from": frame_set.first,
                "observed_until": frame_set.last,
                "valid_from": frame_set.first - valid,
                "valid_until": frame_set.last + valid,
                "includes_bias": frame_set.kind == CalibrationKind.DARK and made_with.bias is None,
                "n_frames": master.n_frames,
                "n_clipped": master.n_clipped,
                "n_bad": master.n_bad,
                "level": master.level,
                "noise": master.noise,
                "bias": made_with.bias,
                "dark": made_with.dark,
                "previous": previous,
                "verdict": comparison.verdict,
                "reasons": list(comparison.reasons),
                "numbers": clean_json(comparison.numbers),
                "file": file,
                "preview_file": preview,
                "code_version": code_version(),
            },
        )
        if is_new:
            row.frames.set(used)
            _same_frames(row, used).update(superseded_by=row)
            publish("calibration.built", subject_id=camera.pk, payload={"master": str(row.pk)})
    return row


def _same_frames(row: CalibrationMaster, used: Sequence[CalibrationFrame]) -> Any:
    """Masters of some of the same frames: made when fewer were here, or in another way."""
    return CalibrationMaster.objects.filter(
        pk__in=CalibrationMaster.objects.filter(
            camera=row.camera, kind=row.kind, superseded_by__isnull=True, frames__in=used
        ).exclude(pk=row.pk)
    )


def _compare(
    camera: Camera, frame_set: FrameSet, master: Master, *, used: Sequence[CalibrationFrame]
) -> tuple[CalibrationMaster | None, Comparison]:
    """The last master of other frames, and how the new one differs from it."""
    from preprocessing.algorithms.masters import compare_masters

    earlier = CalibrationMaster.objects.filter(
        camera=camera,
        kind=frame_set.kind,
        band=frame_set.band,
        superseded_by__isnull=True,
        observed_from__lt=frame_set.first,
    ).exclude(pk__in=CalibrationMaster.objects.filter(frames__in=used))
    if frame_set.exposure_s is not None:
        earlier = earlier.filter(exposure_s__gte=0.98 * frame_set.exposure_s).filter(
            exposure_s__lte=1.02 * frame_set.exposure_s
        )
    previous = earlier.select_related("file").order_by("-observed_from").first()
    last = None if previous is None else _as_master(previous)
    return previous, compare_masters(master, last, kind=frame_set.kind)


def _as_master(row: CalibrationMaster) -> Master:
    from preprocessing.algorithms.masters import Master

    return Master(
        image=load_image(row.file),
        noise=row.noise,
        level=row.level,
        n_frames=row.n_frames,
        n_clipped=row.n_clipped,
        n_bad=row.n_bad,
    )


def _store(camera: Camera, frame_set: FrameSet, master: Master) -> tuple[StoredFile, StoredFile]:
    name = f"master-{frame_set}".replace(" ", "-").replace("/", "_")
    cards = {
        "SURVEY": camera.survey.name,
        "INSTRUME": camera.instrument,
        "DETECTOR": camera.detector,
        "IMAGETYP": f"master {frame_set.kind}",
        "FILTER": frame_set.band or None,
        "DATE-OBS": frame_set.first.isoformat(),
        "NCOMBINE": master.n_frames,
        "CCD-TEMP": frame_set.temperature_c,
        "SIMULATE": any(frame.is_simulated for frame in frame_set.frames),
        "CODEVER": code_version(),
        "ORIGIN": "AstrID",
    }
    history = [f"made of {frame.name} {frame.file.sha256}" for frame in frame_set.frames]
    file = store_image(
        master.image, kind=FileKind.MASTER, name=f"{name}.fits", header=cards, history=history
    )
    return file, store_preview(master.image, name=f"{name}.png", max_size=_PICTURE_PIX)
