"""Reading references and differences, and who may be a reference for whom."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from astrid_site.core.status import RunStatus
from astrid_site.imaging.healpix import separation_arcsec
from differencing.models import DifferenceRun, ReferenceImage, ReferenceRun
from observations.models import Observation
from preprocessing.models import ScienceImage
from preprocessing.selectors import finished_images

# A frame that still chooses its reference may build the one a later frame shares: without
# waiting for it, which reference that frame gets would hang on who is quicker.
_UNDECIDED = Q(status__in=[RunStatus.PENDING, RunStatus.RUNNING]) & Q(
    stage__in=["", "preprocess", "reference"]
)


def named_frames(observation: Observation) -> QuerySet[Observation]:
    """Frames of the same survey and band that a person named as reference, whatever their date."""
    return Observation.objects.filter(
        survey=observation.survey, band=observation.band, role=Observation.Role.TEMPLATE
    ).exclude(pk=observation.pk)


def earlier_frames(observation: Observation) -> QuerySet[Observation]:
    """Frames of the same survey and band that ended before this one starts."""
    rows = Observation.objects.filter(
        survey=observation.survey, band=observation.band, role=Observation.Role.AUTO
    ).exclude(pk=observation.pk)
    if observation.observed_at is None:
        return rows.none()
    return rows.filter(ended_at__lte=observation.observed_at)


def uncalibrated(frames: QuerySet[Observation]) -> list[Observation]:
    """Those that are still on their way to their own reference."""
    return list(frames.filter(_UNDECIDED).order_by("observed_at", "id"))


def calibrated(frames: QuerySet[Observation], *, version: str) -> list[ScienceImage]:
    """Finished science images of frames, in a fixed order."""
    return list(
        finished_images()
        .filter(observation__in=frames, pipeline_version=version)
        .order_by("observation__observed_at", "observation__observation_id", "id")
    )


def references_for(observation: Observation) -> list[ReferenceImage]:
    """Active references of the survey and band that end before the frame starts, or are pinned."""
    allowed = Q(is_pinned=True)
    if observation.observed_at is not None:
        allowed |= Q(last_ended_at__lte=observation.observed_at)
    return list(
        ReferenceImage.objects.filter(
            allowed, survey=observation.survey, band=observation.band, is_active=True
        )
        .select_related("file", "stars_file")
        .order_by("last_ended_at", "epochs_digest")
    )


def waiting_for_reference(observation: Observation, *, version: str) -> list[UUID]:
    """Frames that were skipped for want of a reference and may use this newly calibrated one."""
    if observation.role == Observation.Role.SCIENCE:
        return []
    rows = Observation.objects.filter(
        survey=observation.survey,
        band=observation.band,
        status=RunStatus.SKIPPED,
        stage="reference",
    )
    if observation.role == Observation.Role.AUTO:
        if observation.ended_at is None:
            return []
        rows = rows.filter(observed_at__gte=observation.ended_at)
    runs = ReferenceRun.objects.filter(observation__in=rows, pipeline_version=version)
    runs = runs.select_related("observation").order_by("observation_id")
    return [run.observation_id for run in runs if _may_meet(run.observation, observation)]


def _may_meet(frame: Observation, other: Observation) -> bool:
    """Whether the circles around two frames touch; frames without a place may meet any."""
    places = (frame.ra, frame.dec, frame.radius_deg, other.ra, other.dec, other.radius_deg)
    if any(value is None for value in places):
        return True
    # one target at two places means that a WCS is wrong: the reference stage must see it
    if frame.target and frame.target == other.target:
        return True
    ra, dec, radius, other_ra, other_dec, other_radius = (float(v or 0.0) for v in places)
    apart = separation_arcsec(ra, dec, other_ra, other_dec)
    return float(apart) <= 3600.0 * (radius + other_radius)


def reference_run_of(observation_id: UUID, *, version: str) -> ReferenceRun | None:
    """The finished choice of a reference for one observation."""
    return (
        ReferenceRun.objects.filter(
            observation_id=observation_id,
            pipeline_version=version,
            status=RunStatus.SUCCEEDED,
            reference__isnull=False,
        )
        .select_related("reference", "reference__file", "reference__stars_file")
        .first()
    )


def difference_run_of(observation_id: UUID, *, version: str) -> DifferenceRun | None:
    """The finished difference of one observation, with its files."""
    return (
        DifferenceRun.objects.filter(
            observation_id=observation_id,
            pipeline_version=version,
            status=RunStatus.SUCCEEDED,
            file__isnull=False,
        )
        .select_related(
            "observation",
            "observation__survey",
            "reference",
            "science_image",
            "science_image__file",
            "science_image__stars_file",
            "file",
            "template_file",
            "score_file",
            "preview_file",
        )
        .first()
    )
