"""Frames to measure on: a calibrated image, its difference, and where its pixels lie on the sky."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import Max

from astrid_site.core.models import StoredFile
from astrid_site.core.status import RunStatus
from astrid_site.imaging.errors import AlgorithmError
from catalog.selectors import EDGE_ARCSEC, in_cone
from differencing.models import DifferenceRun, ReferenceEpoch, ReferenceImage, ReferenceRun
from observations.models import Observation
from preprocessing.models import ScienceImage
from preprocessing.selectors import finished_images
from preprocessing.services import load_image, load_stars

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from astrid_site.imaging.image import Image
    from preprocessing.algorithms.stars import StarList

#: What ``astrid_site.remedies`` calls world coordinates that the stars contradict.
WRONG_WCS = "wrong_wcs"


@dataclass(frozen=True)
class Frame:
    """One calibrated frame as it is now.

    Attributes
    ----------
    science_image : ScienceImage
        With observation and files loaded.
    difference : DifferenceRun or None
        Its finished difference.
    reference : ReferenceImage or None
        One that it is part of; only where it has no difference.
    """

    science_image: ScienceImage
    difference: DifferenceRun | None
    reference: ReferenceImage | None

    @property
    def observation(self) -> Observation:
        """Whose frame it is."""
        return self.science_image.observation

    @property
    def state(self) -> tuple[object, ...]:
        """All that a flux on this frame hangs on; another state, another flux."""
        observation = self.observation
        return (
            self.science_image.file_id,
            self.difference.file_id if self.difference else None,
            self.reference.file_id if self.reference else None,
            (observation.mid_mjd, observation.band),
        )


def find_frames(images: Iterable[ScienceImage]) -> list[Frame]:
    """Frames of finished images in order of time, but for those known to lie elsewhere."""
    found = sorted(images, key=lambda image: (image.observation.mid_mjd or 0.0, str(image.pk)))
    keys = [image.observation_id for image in found]
    versions = {image.pipeline_version for image in found}
    runs = DifferenceRun.objects.filter(
        observation__in=keys, status=RunStatus.SUCCEEDED, file__isnull=False
    )
    runs = runs.filter(pipeline_version__in=versions).select_related("file", "reference")
    differences = {(run.observation_id, run.pipeline_version): run for run in runs}
    references = _references_of(found)
    misplaced = _misplaced(keys)
    frames = []
    for image in found:
        difference = differences.get((image.observation_id, image.pipeline_version))
        tie = None if difference else references.get(image.pk)
        if (image.observation_id, image.pipeline_version) not in misplaced:
            frames.append(Frame(image, difference, tie))
    return frames


def _references_of(images: Sequence[ScienceImage]) -> dict[UUID, ReferenceImage]:
    """The newest reference each image is part of."""
    epochs = ReferenceEpoch.objects.filter(science_image__in=images).select_related(
        "reference__file", "reference__stars_file"
    )
    order = ("reference__last_ended_at", "reference__epochs_digest")
    return {epoch.science_image_id: epoch.reference for epoch in epochs.order_by(*order)}


def _misplaced(observations: Sequence[UUID]) -> set[tuple[UUID, str]]:
    """Frames whose world coordinates were found wrong: what lies at a place nobody knows."""
    found: set[tuple[UUID, str]] = set()
    for model in (ReferenceRun, DifferenceRun):
        rows = model._default_manager.filter(
            observation__in=observations, status=RunStatus.FAILED, numbers__code=WRONG_WCS
        )
        found.update(rows.values_list("observation_id", "pipeline_version"))
    return found


def frame_of(observation_id: UUID, *, version: str) -> Frame | None:
    """The frame of one observation; None where it is not calibrated or lies elsewhere."""
    images = finished_images().filter(observation_id=observation_id, pipeline_version=version)
    return next(iter(find_frames(images)), None)


def epochs_on_their_own(run: ReferenceRun) -> list[Observation]:
    """Observations in the reference of a run that have no difference to be measured on."""
    epochs = ReferenceEpoch.objects.filter(reference=run.reference_id)
    images = finished_images().filter(pk__in=epochs.values("science_image"))
    return [frame.observation for frame in find_frames(images) if frame.difference is None]


def frames_near(
    observation: Observation, *, version: str, exclude: Iterable[UUID] = ()
) -> list[Frame]:
    """Frames of calibrated images whose circles touch this observation's; ``exclude``: images."""
    if observation.ra is None or observation.dec is None or observation.radius_deg is None:
        return []
    rows = finished_images().filter(
        pipeline_version=version, observation__is_simulated=observation.is_simulated
    )
    largest = Observation.objects.aggregate(radius_deg=Max("radius_deg"))["radius_deg"]
    near = in_cone(
        rows.exclude(pk__in=list(exclude)),
        observation.ra,
        observation.dec,
        radius_arcsec=(observation.radius_deg + largest) * 3600.0 + EDGE_ARCSEC,
        prefix="observation__",
    )
    reach = observation.radius_deg * 3600.0 + EDGE_ARCSEC
    return find_frames(
        image
        for image, apart in near
        if apart <= reach + (image.observation.radius_deg or 0.0) * 3600.0
    )


@dataclass(frozen=True)
class PlacedFrame:
    """The pixels of a frame and where they lie.

    Attributes
    ----------
    frame : Frame
        Whose pixels.
    science : Image
        The calibrated image.
    difference : Image or None
        The difference.
    wcs : astropy.wcs.WCS or None
        World coordinates, the same for both; None where there are none.
    is_tied : bool
        Whether the stars tie them to the reference in which objects were found.
    """

    frame: Frame
    science: Image
    difference: Image | None
    wcs: WCS | None
    is_tied: bool


class FrameLoader:
    """Reads frames; keeps the reference read last, which neighbouring epochs share."""

    def __init__(self) -> None:
        self._reference = lru_cache(maxsize=1)(_load_reference)

    def load(self, frame: Frame) -> PlacedFrame:
        """Pixels of a frame, and the best world coordinates there are for them."""
        science = load_image(_file(frame.science_image.file))
        if frame.difference is not None:
            difference = load_image(_file(frame.difference.file))
            # these were tied to the reference when the two were subtracted
            return PlacedFrame(frame, science, difference, difference.wcs, is_tied=True)
        if frame.reference is None:
            return PlacedFrame(frame, science, None, science.wcs, is_tied=False)
        tied = self._tie(frame.science_image, science, frame.reference)
        return PlacedFrame(frame, science, None, tied or science.wcs, is_tied=tied is not None)

    def _tie(self, image: ScienceImage, science: Image, reference: ReferenceImage) -> WCS | None:
        """World coordinates that agree with the reference's; None if the stars do not match."""
        from differencing.algorithms.astrometry import tie_wcs
        from preprocessing.algorithms.registration import register

        if reference.file_id == image.file_id:
            return science.wcs
        deep, deep_stars = self._reference(reference)
        if deep.wcs is None:
            return None
        stars = load_stars(_file(image.stars_file))
        try:
            found = register(deep, deep_stars, science, science_stars=stars)
        except AlgorithmError:
            # the frame's own world coordinates are used, and the point says so
            return None
        return tie_wcs(science.wcs, deep.wcs, found, shape=science.shape).wcs


def _load_reference(reference: ReferenceImage) -> tuple[Image, StarList]:
    return load_image(reference.file), load_stars(reference.stars_file)


def _file(stored: StoredFile | None) -> StoredFile:
    if stored is None:
        msg = "frame: a finished image has its files"
        raise ValueError(msg)
    return stored
