"""Which reference a frame is compared with: one that exists, or one built for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from astrid_site.core.errors import NotYetError
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.imaging.errors import NoWorkError
from differencing import selectors
from differencing.models import ReferenceImage, ReferenceRun
from differencing.services.building import BuiltReference, build_reference, find_reference
from differencing.services.wcs_check import refuse_wrong_wcs
from observations.algorithms.coverage import covered_fraction
from observations.models import Observation, ProcessingRun, Survey
from preprocessing.models import ScienceImage
from preprocessing.services import has_psf, require_psf


@dataclass(frozen=True)
class Choice:
    """A reference that exists, or the epochs to build one of, and why."""

    reason: str
    reference: ReferenceImage | None = None
    epochs: tuple[ScienceImage, ...] = ()
    is_pinned: bool = False


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
    choice = choose(reference_run)
    built: BuiltReference | None = None
    if choice.reference is None:
        built = build_reference(choice.epochs, is_pinned=choice.is_pinned, run=run, report=progress)

    def save() -> None:
        reference_run.reference = choice.reference or (built.save() if built else None)
        reference_run.save(update_fields=["reference"])

    survey = run.observation.survey
    inputs = {"reference": choice.reference.file.sha256} if choice.reference else {}
    if built is not None:
        inputs = {f"epoch_{i}": key for i, key in enumerate(built.epoch_hashes)}
    return StageProduct(
        metrics={
            "built": built is not None,
            "n_epochs": len(built.epochs) if built else _n_epochs(choice.reference),
            **(built.metrics if built else {}),
        },
        parameters={
            "min_overlap": survey.min_overlap,
            "reference_min_epochs": survey.reference_min_epochs,
            "reference_max_epochs": survey.reference_max_epochs,
        },
        inputs=inputs,
        save=save,
        log=(choice.reason, *(built.notes if built else ())),
    )


def _n_epochs(reference: ReferenceImage | None) -> int:
    return reference.epochs.count() if reference else 0


def choose(run: ReferenceRun) -> Choice:
    """Apply the rule; named frames first, then what exists, then what can be built."""
    observation, version = run.observation, run.pipeline_version
    named = selectors.named_frames(observation)
    _wait_for(observation, selectors.uncalibrated(named))
    if epochs := _usable(observation, selectors.calibrated(named, version=version)):
        return _of_named(observation, epochs)
    if observation.observed_at is None:
        msg = (
            "no reference: the frame has no date, so no other is known to be earlier; "
            "give its date, or name frames as template"
        )
        raise NoWorkError(msg)
    # wait first, look after: a reference that an earlier frame made meanwhile must be seen
    earlier = selectors.earlier_frames(observation)
    _wait_for(observation, selectors.uncalibrated(earlier))
    for reference in selectors.references_for(observation):
        overlap = overlap_with(observation, reference)
        if overlap is None or overlap >= observation.survey.min_overlap:
            return Choice("reused a reference that ends before this frame", reference)
    images = selectors.calibrated(earlier, version=version)
    epochs = _usable(observation, images)
    needed = observation.survey.reference_min_epochs
    if len(epochs) < needed:
        named_images = selectors.calibrated(named, version=version)
        candidates = [*named_images, *images]
        refuse_wrong_wcs(run, _witnesses(observation, candidates))
        for image in candidates:
            if _covers_enough(observation, image):
                require_psf(image)
        raise NoWorkError(
            _why_none(observation, len(epochs)), n_epochs=len(epochs), n_needed=needed
        )
    chosen = _best(epochs, observation.survey)
    known = find_reference(chosen)
    return Choice(f"made of {len(chosen)} earlier epochs", known, chosen)


def _best(epochs: Sequence[ScienceImage], survey: Survey) -> tuple[ScienceImage, ...]:
    """The epochs that make the least noisy reference, best first, at least as many as needed.

    Who may take part was decided before; here only depth and seeing count.
    """
    from differencing.algorithms.reference import Epoch, select_epochs

    has_scale = all(image.zero_point is not None for image in epochs)
    described = {str(image.pk): image for image in epochs}
    candidates = [
        Epoch(
            key=key,
            ended_mjd=0.0,
            overlap=1.0,
            fwhm_pix=image.fwhm_pix or 1.0,
            sky_noise=(image.sky_noise or 1.0)
            * (10.0 ** (-0.4 * (image.zero_point or 0.0)) if has_scale else 1.0),
        )
        for key, image in described.items()
    ]
    limit = survey.reference_max_epochs
    chosen = select_epochs(candidates, science_started_mjd=1.0, max_epochs=limit)
    keys = [epoch.key for epoch in chosen]
    ranked = sorted(candidates, key=lambda epoch: (epoch.point_noise, epoch.key))
    keys += [epoch.key for epoch in ranked if epoch.key not in keys]
    n = min(max(len(chosen), survey.reference_min_epochs), limit)
    return tuple(described[key] for key in keys[:n])


def _of_named(observation: Observation, epochs: Sequence[ScienceImage]) -> Choice:
    chosen = _best(epochs, observation.survey)
    reason = f"made of {len(chosen)} frames that a person named as template"
    return Choice(reason, find_reference(chosen), chosen, is_pinned=True)


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
