"""Reading references and differences, and who may be a reference for whom."""

from __future__ import annotations

from uuid import UUID

from django.db.models import F, Q, QuerySet

from astrid_site.core.status import RunStatus
from astrid_site.imaging.healpix import separation_arcsec
from differencing.models import DifferenceRun, ReferenceEpoch, ReferenceImage, ReferenceRun
from observations.models import Observation, Survey
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


def near(frames: QuerySet[Observation], observation: Observation) -> QuerySet[Observation]:
    """Those whose circle may touch the frame's, or that name its target or no place at all."""
    if observation.dec is None or observation.radius_deg is None:
        return frames
    reach = observation.radius_deg + F("radius_deg")
    touches = Q(dec__gte=observation.dec - reach, dec__lte=observation.dec + reach)
    unplaced = Q(dec__isnull=True) | Q(radius_deg__isnull=True)
    named = Q(target__iexact=observation.target) if observation.target else Q(pk__in=())
    return frames.filter(touches | unplaced | named)


def uncalibrated(frames: QuerySet[Observation]) -> list[Observation]:
    """Those that are still on their way to their own reference."""
    return list(frames.filter(_UNDECIDED).order_by("observed_at", "id"))


def calibrated(frames: QuerySet[Observation], *, version: str) -> list[ScienceImage]:
    """Finished science images of frames, in a fixed order."""
    return list(
        finished_images()
        # texts that a choice among a thousand frames does not need
        .defer("log", "parameters", "observation__header", "observation__overrides")
        .filter(observation__in=frames, pipeline_version=version)
        .order_by("observation__observed_at", "observation__observation_id", "id")
    )


def retired_digests(survey: Survey, *, band: str) -> frozenset[str]:
    """Digests of the references that a person took out of use."""
    rows = ReferenceImage.objects.filter(survey=survey, band=band, is_active=False)
    return frozenset(rows.values_list("epochs_digest", flat=True))


def versions_of(reference: ReferenceImage) -> list[ReferenceImage]:
    """References of the same field, survey and band, newest version first; itself among them."""
    rows = ReferenceImage.objects.filter(survey=reference.survey, band=reference.band)
    rows = rows.filter(is_pinned=reference.is_pinned)
    if reference.healpix14 is None or reference.dec is None or reference.ra is None:
        rows = rows.filter(target=reference.target, healpix14__isnull=True)
    else:
        reach = reference.radius_deg or 0.0
        rows = rows.filter(dec__range=(reference.dec - reach, reference.dec + reach))
    return [
        row
        for row in rows.select_related("former").order_by("-version", "-created_at", "id")
        if _is_near(row, reference)
    ]


def _is_near(row: ReferenceImage, other: ReferenceImage) -> bool:
    if row.ra is None or row.dec is None or other.ra is None or other.dec is None:
        return True
    apart = separation_arcsec(row.ra, row.dec, other.ra, other.dec)
    return float(apart) <= 3600.0 * (other.radius_deg or 0.0)


def epochs_of(reference: ReferenceImage) -> list[ReferenceEpoch]:
    """What went into a reference, the most weighty first."""
    rows = ReferenceEpoch.objects.filter(reference=reference)
    return list(
        rows.select_related("science_image__observation").order_by("-weight", "science_image_id")
    )


def count_differences(reference: ReferenceImage) -> int:
    """Differences made with a reference."""
    return DifferenceRun.objects.filter(reference=reference, status=RunStatus.SUCCEEDED).count()


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
