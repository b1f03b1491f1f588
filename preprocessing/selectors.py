"""Reading science images."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from astrid_site.core.status import RunStatus
from preprocessing.models import ScienceImage


def finished_images() -> QuerySet[ScienceImage]:
    """Science images whose preprocessing succeeded, with what their users need."""
    return ScienceImage.objects.filter(
        status=RunStatus.SUCCEEDED, file__isnull=False, stars_file__isnull=False
    ).select_related("observation", "observation__survey", "file", "stars_file", "preview_file")


def science_image_of(observation_id: UUID, *, version: str) -> ScienceImage | None:
    """The finished science image of one observation."""
    return finished_images().filter(observation_id=observation_id, pipeline_version=version).first()
