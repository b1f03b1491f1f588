"""Building a reference: epochs brought onto one grid, averaged, measured and stored."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.db.models import QuerySet
from numpy.typing import NDArray

from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.provenance import code_version
from astrid_site.core.stages import Progress
from astrid_site.core.storage import put_bytes
from astrid_site.imaging.errors import AlgorithmError, NoWorkError
from astrid_site.imaging.image import Image
from astrid_site.imaging.scratch import scratch_folder
from differencing.models import ReferenceEpoch, ReferenceImage
from differencing.services.flux_scale import flux_scale, rescale
from observations.models import Observation, ProcessingRun
from preprocessing.models import ScienceImage
from preprocessing.services import (
    load_image,
    load_stars,
    provenance_cards,
    store_image,
    store_preview,
    store_stars,
)

if TYPE_CHECKING:
    from preprocessing.algorithms.stars import StarList

#: Longest side of the picture of the coverage [pix].
_PICTURE_SIDE = 1024


@dataclass(frozen=True)
class Recipe:
    """What a reference is to be made of, and why.

    Where the sky changed since the former version, only the former epochs count, so that all
    versions have one zero level there.
    """

    epochs: tuple[ScienceImage, ...]
    reason: str
    former: tuple[ScienceImage, ...] = ()
    version: int = 1
    is_pinned: bool = False
    #: Predicted noise of a difference with the first 1, 2, ... epochs, in units of the first.
    predicted: tuple[float, ...] = ()
    #: Digest of the version before.
    former_digest: str = ""

    @property
    def digest(self) -> str:
        """The same epochs, the same reference."""
        return epochs_digest(self.epochs, former=self.former)


def epochs_digest(epochs: Sequence[ScienceImage], *, former: Sequence[ScienceImage] = ()) -> str:
    """sha256 over the epochs' hashes in a fixed order, and those of the version before."""
    words = [*_hashes(epochs), *(f"former {key}" for key in _hashes(former))]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _hashes(epochs: Sequence[ScienceImage]) -> list[str]:
    return sorted(image.file.sha256 for image in epochs if image.file is not None)


def find_reference(recipe: Recipe) -> ReferenceImage | None:
    """The active reference made by exactly this recipe."""
    return _made_by(recipe, recipe.digest).filter(is_active=True).first()


def _made_by(recipe: Recipe, digest: str) -> QuerySet[ReferenceImage]:
    observation = recipe.epochs[0].observation
    return ReferenceImage.objects.filter(
        survey=observation.survey, band=observation.band, epochs_digest=digest
    ).select_related("file", "stars_file")


@dataclass(frozen=True)
class BuiltReference:
    """A reference whose files are stored and whose row is not yet written."""

    recipe: Recipe
    epochs: tuple[ScienceImage, ...]
    weights: tuple[float, ...]
    files: dict[str, StoredFile | None]
    metrics: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def epoch_hashes(self) -> list[str]:
        """sha256 of each epoch's science image."""
        return [image.file.sha256 for image in self.epochs if image.file is not None]

    def save(self) -> ReferenceImage:
        """Write the row, or take the one that another worker wrote of the same epochs."""
        recipe, best = self.recipe, self.epochs[0].observation
        ended = [image.observation.ended_at for image in self.epochs]
        dated = [time for time in ended if time is not None]
        reference, is_new = ReferenceImage.objects.get_or_create(
            survey=best.survey,
            band=best.band,
            epochs_digest=recipe.digest,
            defaults={
                **_place(best),
                **self.files,
                # one epoch without a date, and nobody knows when the reference ends
                "last_ended_at": max(dated) if len(dated) == len(ended) else None,
                "is_pinned": recipe.is_pinned,
                "version": recipe.version,
                "former": _made_by(recipe, recipe.former_digest).first(),
                "reason": recipe.reason,
                "metrics": self.metrics,
                "code_version": code_version(),
            },
        )
        if is_new:
            ReferenceEpoch.objects.bulk_create(
                # the constraint of the table: a weight is positive
                ReferenceEpoch(reference=reference, science_image=image, weight=max(weight, 1e-6))
                for image, weight in zip(self.epochs, self.weights, strict=True)
            )
        return reference


def _place(best: Observation) -> dict[str, Any]:
    names = ("target", "ra", "dec", "healpix14", "radius_deg", "footprint")
    return {name: getattr(best, name) for name in names}


def build_reference(recipe: Recipe, *, run: ProcessingRun, report: Progress) -> BuiltReference:
    """Average epochs on the grid of the best one and store the result, not yet its row.

    Raises
    ------
    NoWorkError
        If too few epochs turn out to cover the best one.
    """
    if len(recipe.epochs) == 1 and not recipe.former:
        return _single(recipe)
    survey = run.observation.survey
    with scratch_folder() as folder:
        stack = _gather(recipe, folder, min_overlap=survey.min_overlap, report=report)
        needed = 1 if recipe.is_pinned else survey.reference_min_epochs
        if len(stack.images) - len(stack.spare) < needed:
            n = len(stack.images) - len(stack.spare)
            msg = f"no reference yet: {n} of {needed} epochs match by their stars"
            raise NoWorkError(msg, n_epochs=n, n_needed=needed)
        report(0.75, "combining the epochs")
        return _store(recipe, stack, run=run)


def _single(recipe: Recipe) -> BuiltReference:
    """One epoch is a reference as it is; its files are shared, not copied."""
    (image,) = recipe.epochs
    if image.file is None or image.stars_file is None:
        msg = "image: a finished science image has its files"
        raise ValueError(msg)
    metrics = {name: image.metrics.get(name) for name in ("fwhm_pix", "limiting_magnitude")}
    return BuiltReference(
        recipe=recipe,
        epochs=(image,),
        weights=(1.0,),
        files={
            "file": image.file,
            "stars_file": image.stars_file,
            "preview_file": image.preview_file,
        },
        metrics={"n_epochs": 1, **metrics},
        notes=(f"one epoch: {image.observation.observation_id}",),
    )


@dataclass
class _Stack:
    """Epochs on one grid and flux scale, best first, their pixels on disk."""

    epochs: list[ScienceImage] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    #: Former epochs that were not chosen: they count only where the sky changed.
    spare: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Sky sigma of each before it was warped, on the common scale; None where it is not known.
    sky_noises: list[float | None] = field(default_factory=list)

    def add(self, epoch: ScienceImage, image: Image, folder: Path, *, scale: float = 1.0) -> None:
        """One more epoch, brought to the common flux scale by a factor."""
        self.sky_noises.append(scale * epoch.sky_noise if epoch.sky_noise else None)
        number = len(self.images)
        planes = {"data": image.data, "variance": image.variance, "mask": image.mask}
        stored: dict[str, Any] = {}
        for name, plane in planes.items():
            if plane is None:
                msg = "image: every calibrated epoch has a variance"
                raise ValueError(msg)
            # memory must not grow with the number of epochs
            path = folder / f"{number}-{name}.npy"
            np.save(path, plane, allow_pickle=False)
            stored[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        self.epochs.append(epoch)
        self.images.append(image.with_(**stored))


def _gather(recipe: Recipe, folder: Path, *, min_overlap: float, report: Progress) -> _Stack:
    """Register and warp every epoch onto the best; those that do not match are left out."""
    chosen = {image.pk for image in recipe.epochs}
    spare = [image for image in recipe.former if image.pk not in chosen]
    best, *others = [*recipe.epochs, *spare]
    loaded = _load(best)
    stack = _Stack()
    stack.add(best, loaded[0], folder)
    for i, epoch in enumerate(others, start=1):
        report(0.1 + 0.6 * i / (1 + len(others)), f"aligning epoch {i + 1} of {1 + len(others)}")
        name = epoch.observation.observation_id
        try:
            warped, scale = _align(_load(epoch), loaded, min_overlap=min_overlap)
        except AlgorithmError as error:
            # one bad epoch must not cost the reference; it is named in the log
            stack.notes.append(f"left out {name}: {error.message}")
            continue
        if epoch.pk not in chosen:
            stack.spare.append(len(stack.images))
        stack.add(epoch, warped, folder, scale=scale)
    return stack


def _load(epoch: ScienceImage) -> tuple[Image, StarList]:
    if epoch.file is None or epoch.stars_file is None:
        msg = "epoch: a finished science image has its files"
        raise ValueError(msg)
    return load_image(epoch.file), load_stars(epoch.stars_file)


def _align(
    epoch: tuple[Image, StarList], best: tuple[Image, StarList], *, min_overlap: float
) -> tuple[Image, float]:
    """One epoch on the grid and the flux scale of the best, and the factor to that scale."""
    from preprocessing.algorithms.registration import register
    from preprocessing.algorithms.warp import warp

    registration = register(epoch[0], epoch[1], best[0], science_stars=best[1])
    if registration.overlap < min_overlap:
        msg = f"it covers {registration.overlap:.0%} of the best epoch, {min_overlap:.0%} needed"
        raise NoWorkError(msg, overlap=registration.overlap, overlap_required=min_overlap)
    warped = warp(epoch[0], registration, shape=best[0].shape)
    scale = flux_scale(registration, epoch[0], best[0])
    return rescale(warped, scale), scale


def _store(recipe: Recipe, stack: _Stack, *, run: ProcessingRun) -> BuiltReference:
    """Coadd, measure PSF and stars on the result, and keep the files."""
    from differencing.algorithms.reference import coadd, measure_coadd
    from differencing.algorithms.unsettled import find_disagreement

    former = {image.pk for image in recipe.former}
    known = [i for i, epoch in enumerate(stack.epochs) if epoch.pk in former]
    disagreement = find_disagreement(stack.images, former=known)
    noises = [noise for noise in stack.sky_noises if noise is not None]
    combined = coadd(
        stack.images,
        sky_noises=noises if len(noises) == len(stack.images) else None,
        disagreement=disagreement,
        spare=stack.spare,
    )
    done, remarks = measure_coadd(combined.image)
    name = f"{run.observation.target or run.observation.observation_id}-reference"
    cards = provenance_cards(stack.epochs[0].observation, run) | {
        "NEPOCHS": len(stack.images) - len(stack.spare),
        "OBSID": None,
    }
    history = [f"epoch {epoch.observation.observation_id}" for epoch in stack.epochs]
    metrics = {
        **done.metrics,
        "n_epochs": len(stack.images) - len(stack.spare),
        "n_clipped_pixels": combined.n_clipped,
        "n_changed_pixels": disagreement.n_rejected,
        "disagreeing_share": float(disagreement.marked.mean()),
        "median_coverage": float(np.median(combined.coverage)),
        "predicted_noise": list(recipe.predicted),
    }
    coverage = Image(
        data=combined.coverage.astype(np.float32), mask=np.zeros(combined.image.shape, np.uint16)
    )
    files: dict[str, StoredFile | None] = {
        "file": store_image(
            done.image, kind=FileKind.REFERENCE, name=f"{name}.fits", header=cards, history=history
        ),
        "stars_file": store_stars(done.stars, name=f"{name}-stars.npy"),
        "preview_file": store_preview(done.image, name=f"{name}.png"),
        "coverage_file": store_image(
            coverage,
            kind=FileKind.REFERENCE,
            name=f"{name}-coverage.fits",
            header=cards,
            history=history,
        ),
        "coverage_preview_file": _store_coverage(combined.coverage, name=f"{name}-coverage.png"),
    }
    return BuiltReference(
        recipe=recipe,
        epochs=tuple(stack.epochs),
        weights=combined.shares,
        files=files,
        metrics=metrics,
        notes=(*stack.notes, *remarks, *done.notes),
    )


def _store_coverage(coverage: NDArray[np.uint16], *, name: str) -> StoredFile:
    """A picture of the number of epochs in each pixel: dark where there is none."""
    from astrid_site.imaging.display import downsample, render_png, shared_limits

    most = max(1, int(coverage.max()))
    span = np.array([[0.0, most]], np.float32)
    factor = max(1, math.ceil(max(coverage.shape) / _PICTURE_SIDE))
    picture = render_png(
        downsample(coverage.astype(np.float32), factor),
        limits=shared_limits([span], stretch="linear"),
        stretch="linear",
        colormap="cividis",
    )
    return put_bytes(picture, kind=FileKind.PREVIEW, name=name, media_type="image/png")
