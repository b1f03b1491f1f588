"""The files that workers make for pages: where an observation's are, and parts of them."""

from __future__ import annotations

from django.urls import reverse

from astrid_site.core.models import StoredFile
from astrid_site.core.tiles import open_views as open_views
from differencing.models import DifferenceRun
from observations.models import Observation
from preprocessing.models import ScienceImage
from preprocessing.services.science import VIEWS_TYPE


def stored_views(observation: Observation) -> dict[str, StoredFile]:
    """The newest file of each stage that has one, by the stage's name.

    Frames that were worked through by an older version have none; their previews were pictures.
    """
    science = ScienceImage.objects.filter(observation=observation, file__isnull=False)
    difference = DifferenceRun.objects.filter(observation=observation, file__isnull=False)
    found = {
        stage: rows.select_related("preview_file").order_by("-created_at").first()
        for stage, rows in (("preprocess", science), ("difference", difference))
    }
    return {
        stage: tiles for stage, run in found.items() if run is not None and (tiles := tiles_of(run))
    }


def tiles_of(run: ScienceImage | DifferenceRun) -> StoredFile | None:
    """The file that a worker made for pages; None where an older version made a picture only."""
    file = run.preview_file
    return file if file is not None and file.media_type == VIEWS_TYPE else None


def frame_size(observation: Observation) -> tuple[int, int]:
    """Columns and rows of the calibrated frame; of the raw one where there is no other yet."""
    files = stored_views(observation)
    stored = files.get("preprocess") or files.get("difference")
    if stored is None:
        return observation.image_width, observation.image_height
    ny, nx = open_views(stored).index["shape"]
    return nx, ny


def has_images(observation: Observation) -> bool:
    """Whether there is anything that could be drawn."""
    rows = ScienceImage.objects.filter(observation=observation)
    return rows.filter(file__isnull=False, stars_file__isnull=False).exists()


def parts_url(observation: Observation, stage: str, stored: StoredFile) -> str:
    """Address below which the parts of a file are; it changes with the content."""
    given = {"observation_id": observation.pk, "stage": stage, "sha256": stored.sha256}
    return reverse("observations:view", kwargs={**given, "part": "_"})[:-1]
