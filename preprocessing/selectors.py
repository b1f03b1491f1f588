"""Reading cameras, masters and science images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import Q, QuerySet

from astrid_site.core.models import Job
from astrid_site.core.status import JobState, RunStatus
from observations.algorithms.frame_kinds import read_readout
from observations.models import Observation
from preprocessing.models import CalibrationKind, CalibrationMaster, Camera, ScienceImage


def finished_images() -> QuerySet[ScienceImage]:
    """Science images whose preprocessing succeeded, with what their users need."""
    return ScienceImage.objects.filter(
        status=RunStatus.SUCCEEDED, file__isnull=False, stars_file__isnull=False
    ).select_related("observation", "observation__survey", "file", "stars_file", "preview_file")


def science_image_of(observation_id: UUID, *, version: str) -> ScienceImage | None:
    """The finished science image of one observation."""
    return finished_images().filter(observation_id=observation_id, pipeline_version=version).first()


#: Degrees within which a dark fits [C], and the share by which its exposure may differ.
TEMPERATURE_TOLERANCE_C = 2.0
EXPOSURE_TOLERANCE = 0.02
#: Quality flag of a frame that calibration would have spoilt.
REFUSED = "calibration_refused"
#: A dark is scaled to at most this many times its own exposure: its noise grows with it.
MAX_DARK_SCALE = 2.0


@dataclass(frozen=True)
class Moment:
    """What a frame must be matched by.

    Attributes
    ----------
    at : datetime or None
        Start of the exposure, UTC.
    exposure_s, temperature_c : float or None
        Exposure time [s]; temperature of the detector [C].
    band : str
        Empty where it is not known.
    """

    at: datetime | None
    exposure_s: float | None = None
    temperature_c: float | None = None
    band: str = ""


@dataclass(frozen=True)
class Matched:
    """Masters that fit one frame, and why others do not."""

    bias: CalibrationMaster | None = None
    dark: CalibrationMaster | None = None
    flat: CalibrationMaster | None = None
    dark_scale: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def masters(self) -> dict[str, CalibrationMaster]:
        """Those there are, by kind."""
        found = {"bias": self.bias, "dark": self.dark, "flat": self.flat}
        return {kind: row for kind, row in found.items() if row is not None}


def camera_of(observation: Observation) -> Camera | None:
    """The camera an observation was made with, if it has calibration frames."""
    cards = read_readout(observation.header)
    return Camera.objects.filter(
        survey_id=observation.survey_id,
        instrument=observation.instrument,
        detector=observation.detector,
        width=observation.image_width,
        height=observation.image_height,
        binning=cards.binning,
        mode=cards.mode,
    ).first()


def partly_calibrated(camera: Camera) -> QuerySet[ScienceImage]:
    """Science images of a camera that lack a master of some kind, newest first."""
    rows = ScienceImage.objects.filter(
        Q(bias_master__isnull=True) | Q(dark_master__isnull=True) | Q(flat_master__isnull=True),
        status=RunStatus.SUCCEEDED,
        observation__survey_id=camera.survey_id,
        observation__instrument=camera.instrument,
        observation__detector=camera.detector,
        observation__image_width=camera.width,
        observation__image_height=camera.height,
    )
    return rows.select_related("observation__survey").order_by("-created_at", "id")


def has_new_masters(camera: Camera, image: ScienceImage) -> bool:
    """Whether a master of a kind that a science image lacks is here now."""
    cards = read_readout(image.observation.header)
    was_refused = REFUSED in image.metrics.get("quality_flags", [])
    if was_refused or (cards.binning, cards.mode) != (camera.binning, camera.mode):
        return False
    found = match_observation(camera, image.observation).masters
    return any(getattr(image, f"{kind}_master_id") is None for kind in found)


def usable_masters(camera: Camera, kind: str, at: datetime) -> list[CalibrationMaster]:
    """Masters of a kind that are valid at a moment, nearest in time first."""
    found = CalibrationMaster.objects.filter(
        camera=camera,
        kind=kind,
        is_active=True,
        superseded_by__isnull=True,
        valid_from__lte=at,
        valid_until__gte=at,
    ).select_related("file")
    return sorted(found, key=lambda row: (abs(row.observed_from - at), str(row.pk)))


def match_observation(camera: Camera, observation: Observation) -> Matched:
    """The masters of one observation, by what its header says of it."""
    cards = read_readout(observation.header)
    if not cards.is_counts:
        return Matched(notes=("no calibration: its unit is not counts",))
    moment = Moment(
        observation.observed_at, observation.exposure_s, cards.temperature_c, observation.band
    )
    return match_masters(camera, moment, done=cards.done - {"overscan"})


def match_masters(camera: Camera, moment: Moment, *, done: frozenset[str] = frozenset()) -> Matched:
    """The masters a frame is calibrated with: nearest in time of those that fit.

    ``done`` names the steps that somebody has done to the frame already; they get no master.
    """
    at = moment.at
    if at is None:
        return Matched(notes=("no calibration: the frame has no date",))
    notes = [f"{step}: done already, as the header says" for step in sorted(done)]
    bias: CalibrationMaster | None = None
    if CalibrationKind.BIAS not in done:
        bias = next(iter(usable_masters(camera, CalibrationKind.BIAS, at)), None)
        if bias is None:
            notes.append("no master bias is valid at its date")
    dark, scale = None, 1.0
    if CalibrationKind.DARK not in done:
        is_free = CalibrationKind.BIAS in done
        dark, scale = match_dark(
            camera, moment, has_bias=bias is not None, is_free=is_free, notes=notes
        )
    if dark is not None and dark.includes_bias:
        bias = None
    flat = None if CalibrationKind.FLAT in done else _match_flat(camera, moment, at, notes)
    if flat is not None and bias is None and dark is None and CalibrationKind.BIAS not in done:
        notes.append("the master flat is not used: nothing removes the bias before it")
        flat = None
    return Matched(bias, dark, flat, scale, tuple(notes))


def _match_flat(
    camera: Camera, moment: Moment, at: datetime, notes: list[str]
) -> CalibrationMaster | None:
    flats = usable_masters(camera, CalibrationKind.FLAT, at)
    flat = next((row for row in flats if row.band == moment.band), None)
    if flat is None:
        notes.append(f"no master flat in band {moment.band or '(none)'} is valid at its date")
    return flat


def match_dark(
    camera: Camera, moment: Moment, *, has_bias: bool, notes: list[str], is_free: bool = False
) -> tuple[CalibrationMaster | None, float]:
    """The dark of a frame and the factor it is scaled by; says in ``notes`` why there is none.

    ``has_bias``: a master bias is at hand; ``is_free``: the frame's bias was removed by others.
    """
    if moment.at is None or not moment.exposure_s:
        notes.append("no master dark: the frame has no exposure time")
        return None, 1.0
    found = usable_masters(camera, CalibrationKind.DARK, moment.at)
    if not found:
        notes.append("no master dark is valid at its date")
        return None, 1.0
    # a dark that still holds the bias can neither be scaled nor follow a bias
    found = [row for row in found if (not is_free if row.includes_bias else has_bias or is_free)]
    near = [row for row in found if _is_as_cold(row.temperature_c, moment.temperature_c)]
    exposure = moment.exposure_s
    for row in near:
        if row.exposure_s and abs(row.exposure_s / exposure - 1.0) <= EXPOSURE_TOLERANCE:
            return row, 1.0
    scalable = [
        row
        for row in near
        if row.exposure_s and not row.includes_bias and exposure <= MAX_DARK_SCALE * row.exposure_s
    ]
    if scalable:
        row = min(scalable, key=lambda dark: abs(np.log((dark.exposure_s or 1.0) / exposure)))
        return row, exposure / (row.exposure_s or 1.0)
    notes.append(f"no master dark fits {exposure:g} s at {_temperature(moment.temperature_c)}")
    return None, 1.0


def _is_as_cold(first: float | None, second: float | None) -> bool:
    """Whether two temperatures agree; one that is not known agrees only with another such."""
    if first is None or second is None:
        return first is second
    return abs(first - second) <= TEMPERATURE_TOLERANCE_C


def _temperature(value: float | None) -> str:
    return "an unknown temperature" if value is None else f"{value:.1f} C"


def is_building(camera: Camera) -> bool:
    """Whether masters of a camera are about to change."""
    unfinished = (JobState.QUEUED, JobState.RUNNING)
    jobs = Job.objects.filter(kind="build_masters", subject_id=camera.pk, state__in=unfinished)
    return jobs.exists()


def calibration_cameras() -> QuerySet[Camera]:
    """Cameras that have calibration frames, by survey and name."""
    return Camera.objects.select_related("survey").order_by("survey__name", "instrument", "id")


def masters(filters: Mapping[str, Any] | None = None) -> QuerySet[CalibrationMaster]:
    """Masters, those that can be used first, latest first.

    Filters: ``camera`` (key), ``kind``, ``band``, ``current`` (only those that can be used).
    """
    wanted = {key: value for key, value in (filters or {}).items() if value not in {None, ""}}
    rows = CalibrationMaster.objects.select_related("camera__survey", "file", "preview_file")
    if "camera" in wanted:
        rows = rows.filter(camera_id=wanted["camera"])
    for name in ("kind", "band"):
        if name in wanted:
            rows = rows.filter(**{name: wanted[name]})
    if wanted.get("current"):
        rows = rows.filter(is_active=True, superseded_by__isnull=True)
    return rows.order_by("-observed_from", "kind", "id")


def images_made_with(master: CalibrationMaster) -> QuerySet[ScienceImage]:
    """Science images that a master was used for, newest first."""
    column = {"bias": "bias_master", "dark": "dark_master", "flat": "flat_master"}[master.kind]
    rows = ScienceImage.objects.filter(**{column: master})
    return rows.select_related("observation__survey").order_by("-created_at", "id")


def doubtful_gains(limit: int = 50) -> list[ScienceImage]:
    """Science images whose sky noise contradicts their gain, newest first."""
    rows = ScienceImage.objects.filter(metrics__gain_check="suspect", status=RunStatus.SUCCEEDED)
    return list(rows.select_related("observation__survey").order_by("-created_at", "id")[:limit])
