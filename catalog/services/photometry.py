"""Forced photometry: every known object on every calibrated frame that covers it.

A frame gives two fluxes of an object, each of its own kind: the difference flux, where it has a
finished difference, and the total flux of the calibrated image itself. Whose frame it is measures
them when its way ends, wherever that is; who founds or moves an object measures it on all other
frames. Each point is saved only while its object is still where it was measured and the frame still
what it was: who changed either since measures anew, or will. So the light curves are the same
whoever is quicker, and nobody measures twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from astrid_site.core.errors import NotYetError
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.imaging.errors import NoWorkError
from catalog import selectors
from catalog.models import AssociationRun, AstroObject, LightCurvePoint
from catalog.services.frames import Frame, FrameLoader, frame_of, frames_near
from catalog.services.points import Measured, measure_points, save_points
from observations.models import Observation, ProcessingRun
from preprocessing.models import ScienceImage


def run_photometry(run: ProcessingRun, progress: Progress) -> StageProduct:
    """Measure every known object on this frame, and what it moved on all other frames.

    Raises
    ------
    NoWorkError
        If the frame is not calibrated, or what lies where on it is not known.
    """
    observation, version = run.observation, run.pipeline_version
    frame = frame_of(observation.pk, version=version)
    if frame is None:
        msg = "no calibrated frame that lies where its world coordinates say"
        raise NoWorkError(msg)
    loader = FrameLoader()
    here = selectors.objects_near(observation)
    measured = [measure_points(frame, here, loader)]
    changed = _changed_objects(run)
    exclude = [frame.science_image.pk]
    others = frames_near(observation, version=version, exclude=exclude) if changed else []
    for i, other in enumerate(others):
        progress(0.2 + 0.8 * i / len(others), f"measuring on frame {i + 1} of {len(others)}")
        measured.append(measure_points(other, _still_there(changed), loader))
    metrics = {"n_objects": len(here), "n_other_frames": len(others), **_counts(measured)}

    def save() -> None:
        metrics["n_left_to_others"] = save_points(measured).n_left

    return StageProduct(metrics=metrics, inputs=_inputs(frame), save=save)


def run_measure(observation: Observation, progress: Progress, *, version: str) -> StageProduct:
    """Measure every known object on a frame whose way ended before its photometry.

    A frame that turned out to lie elsewhere than its world coordinates say loses its points.
    """
    progress(0.1, "measuring light curves")
    frame = frame_of(observation.pk, version=version)
    here = selectors.objects_near(observation)
    measured = [measure_points(frame, here, FrameLoader())] if frame else []

    def save() -> None:
        if frame is None:
            forget_points(observation)
        elif save_points(measured, holding=frame.science_image).n_stale:
            msg = "the frame changed while it was measured"
            raise NotYetError(msg, retry_in_s=0.0)

    inputs = _inputs(frame) if frame else {}
    return StageProduct(metrics=_counts(measured), inputs=inputs, save=save)


def forget_points(observation: Observation) -> None:
    """Remove the points of a frame that is calibrated anew, or whose place is not known."""
    # waits for those who are about to write some
    list(ScienceImage.objects.select_for_update().filter(observation=observation))
    LightCurvePoint.objects.filter(observation=observation).delete()


def wants_measuring(observation: Observation, *, version: str) -> bool:
    """Whether a frame whose way ended has anything to measure, or to forget."""
    if LightCurvePoint.objects.filter(observation=observation).exists():
        return True
    if not selectors.objects_near(observation):
        return False
    return frame_of(observation.pk, version=version) is not None


def _inputs(frame: Frame) -> dict[str, str]:
    files = {
        "science": frame.science_image.file,
        "difference": frame.difference.file if frame.difference else None,
        "reference": frame.reference.file if frame.reference else None,
    }
    return {name: stored.sha256 for name, stored in files.items() if stored is not None}


def _counts(measured: Sequence[Measured]) -> dict[str, Any]:
    points = [point for one in measured for point in one.points]
    kinds = Counter(point.kind for point in points)
    return {
        "n_points": len(points),
        "n_difference": kinds[LightCurvePoint.Kind.DIFFERENCE],
        "n_total": kinds[LightCurvePoint.Kind.TOTAL],
        "n_masked": sum(point.flux is None for point in points),
    }


def _changed_objects(run: ProcessingRun) -> list[AstroObject]:
    """Objects that this observation founded or moved."""
    association = AssociationRun.objects.filter(
        observation_id=run.observation_id, pipeline_version=run.pipeline_version
    ).first()
    keys = association.metrics.get("moved", []) if association else []
    return list(AstroObject.objects.filter(pk__in=keys).order_by("pk"))


def _still_there(objects: Sequence[AstroObject]) -> list[AstroObject]:
    """Those that nobody moved since they were read; the others are measured by who moved them."""
    now: dict[UUID, AstroObject] = AstroObject.objects.in_bulk([row.pk for row in objects])
    return [
        row
        for row in objects
        if row.pk in now and now[row.pk].forced_position == row.forced_position
    ]
