"""Building a reference: epochs brought onto one grid, averaged, measured and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.provenance import code_version
from astrid_site.core.stages import Progress
from astrid_site.imaging.errors import AlgorithmError, NoWorkError
from differencing.models import ReferenceEpoch, ReferenceImage
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
    from astrid_site.imaging.image import Image
    from preprocessing.algorithms.registration import Registration
    from preprocessing.algorithms.stars import StarList

#: Physical units of flux; with a solid angle below the slash, of surface brightness.
_PHYSICAL_UNITS = frozenset({"jy", "mjy", "ujy", "njy", "maggy", "nanomaggy"})
#: Clean stars that overrule a calibration in physical units, and header zero points: the latter
#: are often those of a clear night, whatever the night was.
_STARS_OVER_UNIT = 20
_STARS_OVER_ZERO_POINT = 5


@dataclass(frozen=True)
class BuiltReference:
    """A reference whose files are stored and whose row is not yet written."""

    epochs: tuple[ScienceImage, ...]
    weights: tuple[float, ...]
    is_pinned: bool
    file: StoredFile
    stars_file: StoredFile
    preview_file: StoredFile | None
    metrics: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def epoch_hashes(self) -> list[str]:
        """sha256 of each epoch's science image."""
        return [image.file.sha256 for image in self.epochs if image.file is not None]

    def save(self) -> ReferenceImage:
        """Write the row, or take the one that another worker wrote of the same epochs."""
        best = self.epochs[0].observation
        ended = [image.observation.ended_at for image in self.epochs]
        dated = [time for time in ended if time is not None]
        reference, is_new = ReferenceImage.objects.get_or_create(
            survey=best.survey,
            band=best.band,
            epochs_digest=epochs_digest(self.epochs),
            defaults={
                **_place(best),
                "file": self.file,
                "stars_file": self.stars_file,
                "preview_file": self.preview_file,
                # one epoch without a date, and nobody knows when the reference ends
                "last_ended_at": max(dated) if len(dated) == len(ended) else None,
                "is_pinned": self.is_pinned,
                "metrics": self.metrics,
                "code_version": code_version(),
            },
        )
        if is_new:
            ReferenceEpoch.objects.bulk_create(
                ReferenceEpoch(reference=reference, science_image=image, weight=weight)
                for image, weight in zip(self.epochs, self.weights, strict=True)
            )
        return reference


def _place(best: Observation) -> dict[str, Any]:
    names = ("target", "ra", "dec", "healpix14", "radius_deg", "footprint")
    return {name: getattr(best, name) for name in names}


def epochs_digest(epochs: Sequence[ScienceImage]) -> str:
    """sha256 over the epochs' hashes in a fixed order: the same epochs, the same reference."""
    hashes = sorted(image.file.sha256 for image in epochs if image.file is not None)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def find_reference(epochs: Sequence[ScienceImage]) -> ReferenceImage | None:
    """The active reference made of exactly these epochs."""
    survey, band = epochs[0].observation.survey, epochs[0].observation.band
    return (
        ReferenceImage.objects.filter(
            survey=survey, band=band, epochs_digest=epochs_digest(epochs), is_active=True
        )
        .select_related("file", "stars_file")
        .first()
    )


def build_reference(
    epochs: Sequence[ScienceImage], *, is_pinned: bool, run: ProcessingRun, report: Progress
) -> BuiltReference:
    """Average epochs on the grid of the best one and store the result, not yet its row.

    ``epochs`` come best first; the first gives grid, flux scale and place on the sky.

    Raises
    ------
    NoWorkError
        If too few epochs turn out to cover the best one.
    """
    if len(epochs) == 1:
        return _single(epochs[0], is_pinned=is_pinned)
    stack = _gather(epochs, run.observation.survey.min_overlap, report)
    needed = 1 if is_pinned else run.observation.survey.reference_min_epochs
    if len(stack.images) < needed:
        msg = f"no reference yet: {len(stack.images)} of {needed} epochs match by their stars"
        raise NoWorkError(msg, n_epochs=len(stack.images), n_needed=needed)
    return _store(stack, is_pinned=is_pinned, run=run)


def _single(image: ScienceImage, *, is_pinned: bool) -> BuiltReference:
    """One epoch is a reference as it is; its files are shared, not copied."""
    if image.file is None or image.stars_file is None:
        msg = "image: a finished science image has its files"
        raise ValueError(msg)
    metrics = {name: image.metrics.get(name) for name in ("fwhm_pix", "limiting_magnitude")}
    return BuiltReference(
        epochs=(image,),
        weights=(1.0,),
        is_pinned=is_pinned,
        file=image.file,
        stars_file=image.stars_file,
        preview_file=image.preview_file,
        metrics={"n_epochs": 1, **metrics},
        notes=(f"one epoch: {image.observation.observation_id}",),
    )


@dataclass(frozen=True)
class _Stack:
    """Epochs on one grid and flux scale, best first."""

    epochs: list[ScienceImage]
    images: list[Image]
    notes: list[str]


def _gather(epochs: Sequence[ScienceImage], min_overlap: float, report: Progress) -> _Stack:
    """Register and warp every epoch onto the best; those that do not match are left out."""
    best = _load(epochs[0])
    stack = _Stack([epochs[0]], [best[0]], [])
    for i, epoch in enumerate(epochs[1:], start=1):
        report(0.1 + 0.6 * i / len(epochs), f"aligning epoch {i + 1} of {len(epochs)}")
        name = epoch.observation.observation_id
        try:
            warped = _align(_load(epoch), best, min_overlap=min_overlap)
        except AlgorithmError as error:
            # one bad epoch must not cost the reference; it is named in the log
            stack.notes.append(f"left out {name}: {error.message}")
            continue
        stack.epochs.append(epoch)
        stack.images.append(warped)
    return stack


def _load(epoch: ScienceImage) -> tuple[Image, StarList]:
    if epoch.file is None or epoch.stars_file is None:
        msg = "epoch: a finished science image has its files"
        raise ValueError(msg)
    return load_image(epoch.file), load_stars(epoch.stars_file)


def _align(
    epoch: tuple[Image, StarList], best: tuple[Image, StarList], *, min_overlap: float
) -> Image:
    """One epoch on the grid and the flux scale of the best."""
    from preprocessing.algorithms.registration import register
    from preprocessing.algorithms.warp import warp

    registration = register(epoch[0], epoch[1], best[0], science_stars=best[1])
    if registration.overlap < min_overlap:
        msg = f"it covers {registration.overlap:.0%} of the best epoch, {min_overlap:.0%} needed"
        raise NoWorkError(msg, overlap=registration.overlap, overlap_required=min_overlap)
    warped = warp(epoch[0], registration, shape=best[0].shape)
    return rescale(warped, flux_scale(registration, epoch[0], best[0]))


def flux_scale(registration: Registration, source: Image, target: Image) -> float:
    """Factor from the flux scale of one image, warped, to another's.

    By their common stars; by the calibration where the clean ones among these are too few to
    overrule it: a handful of galaxies measures the aperture, not the scale.
    """
    measured, n_stars = registration.flux_ratio, registration.n_flux_stars
    for calibrated, n_required in (
        (_scale_of_units(source, target), _STARS_OVER_UNIT),
        (_scale_of_zero_points(source, target), _STARS_OVER_ZERO_POINT),
    ):
        if calibrated is not None and (measured is None or n_stars < n_required):
            return calibrated
    return float(measured) if measured is not None and measured > 0 else 1.0


def _scale_of_units(source: Image, target: Image) -> float | None:
    """Scale of two frames in one physical unit; None where counts are their unit."""
    from preprocessing.algorithms.quality import pixel_scale_arcsec

    unit = source.unit.replace(" ", "").lower()
    if source.unit != target.unit or unit.partition("/")[0] not in _PHYSICAL_UNITS:
        return None
    scales = pixel_scale_arcsec(source.wcs), pixel_scale_arcsec(target.wcs)
    if "/" not in unit or scales[0] is None or scales[1] is None:
        return 1.0
    # a surface brightness does not grow with the pixel, as the warp makes fluxes do
    return float((scales[0] / scales[1]) ** 2)


def _scale_of_zero_points(source: Image, target: Image) -> float | None:
    if source.zero_point is None or target.zero_point is None:
        return None
    return float(10.0 ** (0.4 * (target.zero_point - source.zero_point)))


def rescale(image: Image, factor: float) -> Image:
    """An image in units ``factor`` times smaller: data, variance and saturation follow."""
    return image.with_(
        data=image.data * image.data.dtype.type(factor),
        variance=None
        if image.variance is None
        else image.variance * image.variance.dtype.type(factor**2),
        saturation=None if image.saturation is None else image.saturation * factor,
    )


def _store(stack: _Stack, *, is_pinned: bool, run: ProcessingRun) -> BuiltReference:
    """Coadd, measure PSF and stars on the result, and keep the files."""
    from differencing.algorithms.reference import coadd
    from preprocessing.algorithms.preprocess import PreprocessConfig, preprocess_image

    combined = coadd(stack.images)
    image, variance = combined.image, combined.image.variance
    config = PreprocessConfig(find_cosmic_rays=False)
    # the PSF is fitted anew: warping broadened what the epochs' own PSFs say
    done = preprocess_image(image, config, given_variance=variance)
    if done.image.psf is None:
        done = preprocess_image(image, config, given_variance=variance, given_psf=image.psf)
        stack.notes.append("too few stars for a PSF of its own: the mean of the epochs' is used")
    name = f"{run.observation.target or run.observation.observation_id}-reference"
    cards = provenance_cards(stack.epochs[0].observation, run) | {
        "NEPOCHS": len(stack.images),
        "OBSID": None,
    }
    history = [f"epoch {epoch.observation.observation_id}" for epoch in stack.epochs]
    metrics = {
        **done.metrics,
        "n_epochs": len(stack.images),
        "n_clipped_pixels": combined.n_clipped,
        "median_coverage": float(np.median(combined.coverage)),
    }
    return BuiltReference(
        epochs=tuple(stack.epochs),
        weights=_weights(stack.images),
        is_pinned=is_pinned,
        file=store_image(
            done.image, kind=FileKind.REFERENCE, name=f"{name}.fits", header=cards, history=history
        ),
        stars_file=store_stars(done.stars, name=f"{name}-stars.npy"),
        preview_file=store_preview(done.image, name=f"{name}.png"),
        metrics=metrics,
        notes=(*stack.notes, *done.notes),
    )


def _weights(images: Sequence[Image]) -> tuple[float, ...]:
    """Share of each epoch: the inverse of its typical variance."""
    inverse = []
    for image in images:
        if image.variance is None:
            msg = "images: every epoch has a variance"
            raise ValueError(msg)
        good = image.variance[(image.mask == 0) & (image.variance > 0)]
        inverse.append(1.0 / float(np.median(good)) if good.size else 0.0)
    total = sum(inverse)
    # the constraint of the table: a weight is positive
    return tuple(max(value / total, 1e-6) for value in inverse)
