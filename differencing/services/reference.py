"""Which reference a frame is compared with: one that exists, or one built for it.

The answer is a function of the set of calibrated frames that ended before: whichever worker asks,
and whenever, the versions of a field are planned from its epochs alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from astrid_site.core.errors import NotYetError
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.imaging.errors import AlgorithmError, NoWorkError
from differencing import selectors
from differencing.models import ReferenceImage, ReferenceRun
from differencing.services.building import BuiltReference, Recipe, build_reference, find_reference
from differencing.services.field_versions import plan_field, recipe_of_named
from differencing.services.wcs_check import refuse_wrong_wcs
from observations.algorithms.coverage import covered_fraction
from observations.models import Observation, ProcessingRun
from preprocessing.models import ScienceImage
from preprocessing.services import has_psf, require_psf


@dataclass(frozen=True)
class _Made:
    """The reference of one frame: a row, or files whose row is not yet written."""

    recipe: Recipe
    reference: ReferenceImage | None
    built: BuiltReference | None
    notes: tuple[str, ...]


def run_reference(run: ProcessingRun, progress: Progress) -> StageProduct:
    """Choose the reference of one observation, or build it of earlier epochs.

    Raises
    ------
    NotYetError
        While frames that may belong to it are still being calibrated.
    NoWorkError
        If there is nothing to compare with yet; says what is missing.
    AlgorithmError
        If the stars of a frame of the same target contradict this frame's world coordinates.
    """
    reference_run = cast(ReferenceRun, run)
    progress(0.05, "looking for a reference")
    made = _make(choose(reference_run), run=run, report=progress)
    built = made.built

    def save() -> None:
        reference_run.reference = made.reference or (built.save() if built else None)
        reference_run.save(update_fields=["reference"])

    inputs = {"reference": made.reference.file.sha256} if made.reference else {}
    if built is not None:
        inputs = {f"epoch_{i}": key for i, key in enumerate(built.epoch_hashes)}
    survey = run.observation.survey
    return StageProduct(
        metrics={
            "built": built is not None,
            "version": made.recipe.version,
            "n_epochs": built.metrics["n_epochs"] if built else _n_epochs(made.reference),
            **(built.metrics if built else {}),
        },
        parameters={
            "min_overlap": survey.min_overlap,
            "reference_min_epochs": survey.reference_min_epochs,
            "reference_max_epochs": survey.reference_max_epochs,
            "reference_min_gain_percent": survey.reference_min_gain_percent,
            "reference_rebuild_every": survey.reference_rebuild_every,
            "reference_rebuild_percent": survey.reference_rebuild_percent,
            "reference_guard_days": survey.reference_guard_days,
        },
        inputs=inputs,
        save=save,
        log=made.notes,
    )


def _make(recipes: Sequence[Recipe], *, run: ProcessingRun, report: Progress) -> _Made:
    """The newest version that exists or can be built; one whose epochs do not match is passed."""
    notes: list[str] = []
    failure: AlgorithmError | None = None
    for recipe in recipes:
        said = f"version {recipe.version} of {len(recipe.epochs)} epochs: {recipe.reason}"
        reference = find_reference(recipe)
        if reference is not None:
            return _Made(recipe, reference, None, (*notes, f"reused {said}"))
        try:
            built = build_reference(recipe, run=run, report=report)
        except AlgorithmError as error:
            failure = error
            notes.append(f"version {recipe.version} cannot be made: {error.message}")
            continue
        return _Made(recipe, None, built, (*notes, said, *built.notes))
    if failure is None:
        msg = "no reference: every version was retired"
        raise NoWorkError(msg)
    raise failure


def _n_epochs(reference: ReferenceImage | None) -> int:
    return int(reference.metrics.get("n_epochs") or 1) if reference else 0


def choose(run: ReferenceRun) -> list[Recipe]:
    """What may be the reference, best first: named frames, or the versions of the field.

    Raises
    ------
    NotYetError
        While earlier frames have not decided on their own reference.
    NoWorkError
        If there is nothing to compare with.
    """
    observation, version = run.observation, run.pipeline_version
    named = selectors.named_frames(observation)
    _wait_for(observation, selectors.uncalibrated(named))
    if epochs := _usable(observation, selectors.calibrated(named, version=version)):
        return [recipe_of_named(epochs, observation.survey)]
    if observation.observed_at is None:
        msg = (
            "no reference: the frame has no date, so no other is known to be earlier; "
            "give its date, or name frames as template"
        )
        raise NoWorkError(msg)
    earlier = selectors.near(selectors.earlier_frames(observation), observation)
    _wait_for(observation, selectors.uncalibrated(earlier))
    images = selectors.calibrated(earlier, version=version)
    if recipes := _versions_for(observation, images):
        return recipes
    named_images = selectors.calibrated(named, version=version)
    candidates = [*named_images, *images]
    refuse_wrong_wcs(run, _witnesses(observation, candidates))
    for image in candidates:
        if _covers_enough(observation, image):
            require_psf(image, called="the frame that would be the reference")
    n_epochs, needed = len(_usable(observation, images)), observation.survey.reference_min_epochs
    raise NoWorkError(_why_none(observation, n_epochs), n_epochs=n_epochs, n_needed=needed)


def _versions_for(observation: Observation, images: Sequence[ScienceImage]) -> list[Recipe]:
    """Versions that this frame may use, newest first.

    Frames that overlap the field's first one share its versions, so that neighbours in time are
    compared with one reference; where those do not cover this frame, it has versions of its own.
    """
    usable = _usable(observation, images)
    if not usable:
        return []
    anchor = usable[0].observation
    shared = [image for image in images if has_psf(image) and _covers_enough(anchor, image)]
    for epochs in (shared, usable):
        recipes = plan_field(epochs, observation.survey)
        allowed = [r for r in recipes if _may_use(observation, r)]
        if allowed:
            return allowed[::-1]
    return []


def _may_use(observation: Observation, recipe: Recipe) -> bool:
    """Whether a version covers the frame and, made anew, has none of its recent epochs."""
    if not _covers_enough(observation, recipe.epochs[0]):
        return False
    if recipe.version == 1 or observation.observed_at is None:
        return True
    latest = observation.observed_at - timedelta(days=observation.survey.reference_guard_days)
    ended = [image.observation.ended_at for image in recipe.epochs]
    return all(time is not None and time <= latest for time in ended)


def _usable(observation: Observation, images: Sequence[ScienceImage]) -> list[ScienceImage]:
    """Images that cover enough of the frame, as far as is known before stars are matched."""
    return [image for image in images if has_psf(image) and _covers_enough(observation, image)]


def _covers_enough(observation: Observation, image: ScienceImage) -> bool:
    overlap = overlap_with(observation, image.observation)
    return overlap is None or overlap >= observation.survey.min_overlap


def overlap_with(observation: Observation, other: Observation | ReferenceImage) -> float | None:
    """Fraction of the frame that another covers; None where only its target is known."""
    if observation.footprint and other.footprint:
        return covered_fraction(observation.footprint, other.footprint)
    return None if is_same_target(observation, other) else 0.0


def is_same_target(observation: Observation, other: Observation | ReferenceImage) -> bool:
    """Whether both name the same field."""
    name = observation.target.strip().casefold()
    return bool(name) and name == other.target.strip().casefold()


def _wait_for(observation: Observation, frames: Sequence[Observation]) -> None:
    needed = observation.survey.min_overlap
    overlaps = [overlap_with(observation, frame) for frame in frames]
    n = sum(overlap is None or overlap >= needed for overlap in overlaps)
    if n:
        msg = f"waits for {n} earlier frame{'s' if n > 1 else ''}"
        raise NotYetError(msg)


def _why_none(observation: Observation, n_epochs: int) -> str:
    needed = observation.survey.reference_min_epochs
    if not observation.footprint and not observation.target.strip():
        return (
            "no reference: the frame has neither world coordinates nor a target name, "
            "so nothing says which frames show the same field"
        )
    if n_epochs == 0:
        return "no reference yet: no earlier frame of this field in this band"
    return f"no reference yet: {n_epochs} of {needed} earlier epochs of this field in this band"


def _witnesses(observation: Observation, images: Sequence[ScienceImage]) -> list[ScienceImage]:
    """Frames that name the same target and yet lie elsewhere, or cannot be subtracted to tell."""
    return [
        image
        for image in images
        if observation.footprint
        and image.observation.footprint
        and is_same_target(observation, image.observation)
        and not (has_psf(image) and _covers_enough(observation, image))
    ]
