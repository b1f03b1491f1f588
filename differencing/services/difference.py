"""Science minus template: register, warp, subtract, judge, store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings

from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.imaging.errors import AlgorithmError, NoWorkError
from differencing.models import DifferenceRun, ReferenceImage
from differencing.selectors import reference_run_of
from differencing.services.depth import difference_depth
from differencing.services.flux_scale import flux_scale, rescale
from differencing.services.views import (
    difference_numbers,
    store_difference_views,
)
from observations.models import ProcessingRun
from preprocessing.models import ScienceImage
from preprocessing.selectors import science_image_of
from preprocessing.services import (
    load_image,
    load_stars,
    provenance_cards,
    require_psf,
    store_image,
)

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from differencing.algorithms.astrometry import TiedWcs
    from differencing.algorithms.subtraction import Subtraction, SubtractionConfig
    from preprocessing.algorithms.registration import Registration
    from preprocessing.algorithms.stars import StarList


@dataclass(frozen=True)
class _Frames:
    """What is subtracted from what."""

    science_image: ScienceImage
    reference: ReferenceImage
    science: Image
    science_stars: StarList
    template: Image
    template_stars: StarList


class _Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step."""
        start = time.monotonic()
        yield
        self.seconds[f"{name}_s"] = round(time.monotonic() - start, 3)


def run_difference(run: ProcessingRun, progress: Progress) -> StageProduct:
    """Subtract the reference from one science image and store the difference.

    Raises
    ------
    NoWorkError
        If the reference covers too little of the frame.
    AlgorithmError
        If the frames cannot be registered or matched, the world coordinates are wrong, or the
        difference fails its quality judgement; carries the numbers.
    """
    from differencing.algorithms.astrometry import describe_tie
    from preprocessing.algorithms.psf_fit import doubt_of_psf

    clock = _Clock()
    with clock.step("read"):
        frames = _load_frames(run)
    progress(0.15, "registering by stars")
    with clock.step("register"):
        registration = _register(frames, run.observation.survey.min_overlap)
    # only now: that the frame shows another part of the sky is the better reason
    require_psf(frames.science_image)
    progress(0.3, "warping the reference")
    with clock.step("warp"):
        template, science, tied = _align(frames, registration)
    doubts = [
        *(doubt_of_psf(image.psf) for image in (frames.template, frames.science)),
        None if tied is None else describe_tie(tied),
    ]
    progress(0.45, "subtracting")
    config = _config(run)
    with clock.step("subtract"):
        subtraction = _subtract(template, science, frames.science_stars, config=config)
    subtraction = _with_order_of_epochs(run, frames.reference, subtraction)
    subtraction = subtraction.doubted(tuple(dict.fromkeys(doubt for doubt in doubts if doubt)))
    subtraction = _judge_frames(run, frames, subtraction)
    progress(0.8, "storing the difference")
    with clock.step("store"):
        files = _store(run, science, template, subtraction=subtraction, stars=frames.science_stars)
    metrics = {
        **subtraction.metrics,
        **_registration_metrics(registration),
        **_tie_metrics(tied),
        **difference_numbers(subtraction, template),
        **difference_depth(frames.science_image, science, subtraction),
        "quality": subtraction.quality,
        "psf_fwhm_pix": subtraction.psf.fwhm_pix,
        **clock.seconds,
    }
    return _product(
        cast(DifferenceRun, run), frames, subtraction=subtraction, files=files, metrics=metrics,
        parameters=asdict(config),
    )  # fmt: skip


@dataclass(frozen=True)
class SubtractedFrame:
    """A frame on its reference: both on one grid, and what is left."""

    science: Image
    template: Image
    subtraction: Subtraction


def subtract_frame(run: ProcessingRun, science: Image, stars: StarList) -> SubtractedFrame:
    """Subtract the reference of a run from other pixels of its frame, and store nothing.

    Raises
    ------
    NoWorkError, AlgorithmError
        As ``run_difference``.
    """
    frames = replace(_load_frames(run), science=science, science_stars=stars)
    registration = _register(frames, run.observation.survey.min_overlap)
    template, aligned, _ = _align(frames, registration)
    return SubtractedFrame(
        aligned, template, _subtract(template, aligned, stars, config=_config(run))
    )


def _load_frames(run: ProcessingRun) -> _Frames:
    choice = reference_run_of(run.observation_id, version=run.pipeline_version)
    image = science_image_of(run.observation_id, version=run.pipeline_version)
    reference = choice.reference if choice else None
    if reference is None or image is None or image.file is None or image.stars_file is None:
        msg = "no finished reference or science image"
        raise NoWorkError(msg)
    return _Frames(
        science_image=image,
        reference=reference,
        science=load_image(image.file),
        science_stars=load_stars(image.stars_file),
        template=load_image(reference.file),
        template_stars=load_stars(reference.stars_file),
    )


def _register(frames: _Frames, min_overlap: float) -> Registration:
    from preprocessing.algorithms.registration import register

    registration = register(
        frames.template,
        frames.template_stars,
        frames.science,
        science_stars=frames.science_stars,
    )
    if registration.overlap < min_overlap:
        msg = (
            f"the reference covers {registration.overlap:.0%} of the frame, "
            f"{min_overlap:.0%} are needed"
        )
        raise NoWorkError(msg, overlap=registration.overlap, overlap_required=min_overlap)
    return registration


def _align(frames: _Frames, registration: Registration) -> tuple[Image, Image, TiedWcs | None]:
    """Template on the science grid and flux scale; science with the reference's sky positions."""
    from differencing.algorithms.astrometry import tie_wcs
    from preprocessing.algorithms.warp import warp

    science = frames.science
    scale = flux_scale(registration, frames.template, science)
    template = rescale(warp(frames.template, registration, shape=science.shape), scale)
    tied = None
    if frames.template.wcs is not None:
        tied = tie_wcs(science.wcs, frames.template.wcs, registration, shape=science.shape)
        science = science.with_(wcs=tied.wcs)
    template = template.with_(wcs=science.wcs, zero_point=science.zero_point, unit=science.unit)
    return template, science, tied


def _tie_metrics(tied: TiedWcs | None) -> dict[str, float | None]:
    if tied is None:
        return {}
    return {"wcs_tie_rms_pix": tied.rms_pix, "wcs_tie_shift_pix": tied.shift_pix}


def _config(run: ProcessingRun) -> SubtractionConfig:
    from differencing.algorithms.retry import METHODS
    from differencing.algorithms.subtraction import SubtractionConfig

    method, known = run.observation.survey.method, ("auto", *METHODS)
    if method not in known:
        msg = f"the survey's method {method!r} is none of {', '.join(known)}"
        raise AlgorithmError(msg)
    return SubtractionConfig(method=method, threads=settings.WORKER_THREADS)


def _subtract(
    template: Image, science: Image, stars: StarList, *, config: SubtractionConfig
) -> Subtraction:
    """Subtract; with method "auto" every method was tried before a difference is judged failed."""
    from differencing.algorithms.subtract import subtract

    done = subtract(template, science, stars=stars, config=config)
    if done.quality == "fail":
        tried = f"; {done.method_reason}" if "n_tries" in done.metrics else ""
        msg = f"the difference ({done.method}) fails: {'; '.join(done.quality_reasons)}{tried}"
        raise AlgorithmError(msg, **{f"m_{name}": value for name, value in done.metrics.items()})
    return done


def _with_order_of_epochs(
    run: ProcessingRun, reference: ReferenceImage, subtraction: Subtraction
) -> Subtraction:
    """The difference, and said of it if a person named a reference that is the later epoch."""
    ended, started = reference.last_ended_at, run.observation.observed_at
    if ended is None or started is None or ended <= started:
        return subtraction
    said = "the reference was taken after the science image: what faded since shows as brightening"
    return replace(subtraction, method_reason=f"{subtraction.method_reason}; {said}")


def _judge_frames(run: ProcessingRun, frames: _Frames, subtraction: Subtraction) -> Subtraction:
    """The difference, judged by its science frame's gain and fringes, and by both bands.

    Those of a reference's epochs were judged when each of them was calibrated.
    """
    from differencing.algorithms.frame_doubts import frame_numbers, judge_frames

    bands = (frames.reference.band or None, run.observation.band or None)
    return judge_frames(subtraction, frame_numbers(frames.science_image.metrics, bands=bands))


def _registration_metrics(registration: Registration) -> dict[str, Any]:
    return {
        "registration": registration.method,
        "n_matched_stars": registration.n_matched,
        "registration_rms_pix": registration.rms_pix,
        "wcs_offset_arcsec": registration.wcs_offset_arcsec,
        "star_flux_ratio": registration.flux_ratio,
        "n_flux_ratio_stars": registration.n_flux_stars,
        "overlap": registration.overlap,
    }


def _store(
    run: ProcessingRun,
    science: Image,
    template: Image,
    *,
    subtraction: Subtraction,
    stars: StarList,
) -> dict[str, StoredFile]:
    """Keep difference, template and score as FITS, and what pages show of them."""
    name = run.observation.observation_id
    cards = provenance_cards(run.observation, run) | {"SUBMETH": subtraction.method}
    difference = science.with_(
        data=subtraction.difference,
        variance=subtraction.variance,
        mask=subtraction.mask,
        psf=subtraction.psf,
    )
    score = science.with_(
        data=subtraction.score, variance=None, mask=subtraction.mask, psf=None, unit="sigma",
        zero_point=None,
    )  # fmt: skip
    history = [subtraction.method_reason, *subtraction.quality_reasons]
    images = {
        "file": (difference, FileKind.DIFFERENCE, "difference"),
        "template_file": (template, FileKind.REFERENCE, "template"),
        "score_file": (score, FileKind.SCORE, "score"),
    }
    files = {
        field: store_image(
            image, kind=kind, name=f"{name}-{what}.fits", header=cards, history=history
        )
        for field, (image, kind, what) in images.items()
    }
    files["preview_file"] = store_difference_views(
        difference,
        template,
        subtraction.score,
        stars=stars,
        name=f"{name}-difference.views",
        kernels=subtraction.kernel_stamps,
    )
    return files


def _product(
    run: DifferenceRun,
    frames: _Frames,
    *,
    subtraction: Subtraction,
    files: dict[str, StoredFile],
    metrics: dict[str, Any],
    parameters: dict[str, Any],
) -> StageProduct:
    def save() -> None:
        run.reference, run.science_image = frames.reference, frames.science_image
        for field, stored in files.items():
            setattr(run, field, stored)
        run.method, run.method_reason = subtraction.method[:20], subtraction.method_reason
        run.quality = DifferenceRun.Quality(subtraction.quality)
        run.quality_reasons = list(subtraction.quality_reasons)
        run.save(
            update_fields=[
                "reference", "science_image", "method", "method_reason", "quality",
                "quality_reasons", *files,
            ]
        )  # fmt: skip

    science_file = frames.science_image.file
    return StageProduct(
        metrics=metrics,
        parameters=parameters,
        inputs={
            "reference": frames.reference.file.sha256,
            **({"science": science_file.sha256} if science_file else {}),
        },
        save=save,
        log=(subtraction.method_reason, *subtraction.quality_reasons),
    )


def load_difference(run: DifferenceRun) -> Image:
    """The stored difference with variance, mask, PSF and world coordinates."""
    if run.file is None:
        msg = f"run: {run.pk} has no difference"
        raise ValueError(msg)
    return load_image(run.file)
