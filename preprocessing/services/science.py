"""From a raw frame to a stored science image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.provenance import code_version
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.core.storage import put_file
from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.masks import MaskArray
from astrid_site.imaging.scratch import scratch_folder
from observations.models import Observation, ProcessingRun
from observations.services.runs import clean_json
from preprocessing.models import ScienceImage
from preprocessing.services.calibrate import (
    FrameCalibration,
    calibrate_observation,
    cut_to_light,
)
from preprocessing.services.photometry import calibrate_photometry, injected_depth
from preprocessing.services.products import load_image, load_stars, store_image, store_stars
from preprocessing.services.raw_frames import Companions, load_companions, load_raw, read_raw

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from astrid_site.imaging.pyramid import Layer
    from preprocessing.algorithms.preprocess import PreprocessConfig, Preprocessed
    from preprocessing.algorithms.psf_residuals import PsfResiduals
    from preprocessing.algorithms.stars import StarList

#: Type of a file with tiles and small pictures; see ``astrid_site.imaging.pyramid``.
VIEWS_TYPE = "application/x-astrid-views"
#: ``metrics["psf_source"]`` of a frame that has none.
PSF_NONE = "none"
#: Quality flag of a frame whose PSF rests on fewer than ten stars.
PSF_OF_FEW_STARS = "psf_of_few_stars"


def run_preprocess(run: ProcessingRun, progress: Progress) -> StageProduct:
    """Calibrate one raw frame and store the science image, its stars and a preview."""
    from preprocessing.algorithms.preprocess import PreprocessConfig

    science = cast(ScienceImage, run)
    observation = science.observation
    progress(0.05, "reading the frame")
    raw, warnings, own = read_raw(observation)
    companions = load_companions(observation, shape=raw.shape, own=own)
    warnings = (*warnings, *companions.notes)
    progress(0.1, "taking the detector out")
    calibration = calibrate_observation(observation, raw)
    frame, companions = calibration.image, _cut_companions(companions, calibration)
    progress(0.2, "masking, sky, stars, PSF")
    config = PreprocessConfig()
    done, psf_source = _calibrate(frame, companions, config)
    done, catalog_inputs = calibrate_photometry(observation, done)
    progress(0.7, "injecting sources to prove the depth")
    depth = injected_depth(observation, done)
    progress(0.8, "storing the science image")
    name = _product_name(observation)
    cards = provenance_cards(observation, run) | calibration.cards
    notes = (*calibration.notes, *done.notes)
    file = store_image(
        done.image, kind=FileKind.SCIENCE, name=f"{name}-science.fits", header=cards, history=notes
    )
    stars_file = store_stars(done.stars, name=f"{name}-stars.npy")
    preview = store_views(
        _views(
            cut_to_light(observation, raw, shape=frame.shape),
            done.image,
            done.stars,
            background=done.background.level,
        ),
        name=f"{name}.views",
    )
    metrics = {**done.metrics, **depth, **frame_numbers(done.image), "psf_source": psf_source}
    flags = [*(metrics.get("quality_flags") or []), *calibration.metrics["quality_flags"]]
    flags += _psf_flags(psf_source, metrics.get("n_psf_stars"))
    metrics |= {**calibration.metrics, "quality_flags": flags}

    def save() -> None:
        science.file, science.stars_file, science.preview_file = file, stars_file, preview
        calibration.save_to(science)
        science.fwhm_pix = _number(metrics.get("fwhm_pix"))
        science.seeing_arcsec = _number(metrics.get("seeing_arcsec"))
        science.sky_noise = _number(metrics.get("sky_noise"))
        science.zero_point = _number(metrics.get("zero_point"))
        science.limiting_magnitude = _number(metrics.get("limiting_magnitude"))
        n_stars = _number(metrics.get("n_stars"))
        science.n_stars = None if n_stars is None else int(n_stars)
        science.save()

    return StageProduct(
        metrics=metrics,
        parameters=asdict(config),
        inputs=_inputs(observation) | calibration.inputs | catalog_inputs,
        save=save,
        log=(*warnings, *notes),
    )


def calibrate_frame(observation: Observation, raw: Image) -> Preprocessed:
    """Calibrate a raw frame as ``run_preprocess`` does, and store nothing.

    For what is asked of a frame with other pixels than those on record, as sources put into it.
    """
    from preprocessing.algorithms.preprocess import PreprocessConfig

    own = read_raw(observation)[2]
    companions = load_companions(observation, shape=raw.shape, own=own)
    calibration = calibrate_observation(observation, raw)
    companions = _cut_companions(companions, calibration)
    done, _ = _calibrate(calibration.image, companions, PreprocessConfig())
    return calibrate_photometry(observation, done)[0]


def _cut_companions(companions: Companions, calibration: FrameCalibration) -> Companions:
    """Companions of the part of the frame that calibration left."""
    mask, variance = companions.mask, companions.variance
    return Companions(
        None if mask is None else calibration.cut(mask),
        None if variance is None else calibration.cut(variance),
        companions.psf,
        companions.notes,
    )


def _calibrate(
    frame: Image, companions: Companions, config: PreprocessConfig
) -> tuple[Preprocessed, str]:
    """Calibrate, and say where the PSF comes from: "given", "stars" or "none".

    A frame with too few stars for a PSF is calibrated all the same: it can then be looked at, and
    its world coordinates be tested. It is never subtracted.
    """
    from preprocessing.algorithms.preprocess import preprocess_image

    done = preprocess_image(
        frame,
        config,
        given_psf=companions.psf,
        given_variance=companions.variance,
        given_mask=companions.mask,
    )
    if done.image.psf is None:
        return done, PSF_NONE
    return done, "given" if companions.psf is not None else "stars"


def _psf_flags(psf_source: str, n_stars: Any) -> list[str]:
    """A PSF of the frame's own few stars is used, and marked as what it is."""
    is_own = psf_source == "stars"
    return [PSF_OF_FEW_STARS] if is_own and isinstance(n_stars, int) and n_stars < 10 else []


def has_psf(image: ScienceImage) -> bool:
    """Whether a calibrated frame can be subtracted."""
    return bool(image.metrics.get("psf_source") != PSF_NONE)


def require_psf(image: ScienceImage, *, called: str = "this frame") -> None:
    """Refuse a frame whose stars were too few for a PSF; it is named by its file.

    Raises
    ------
    AlgorithmError
        With the number of its stars.
    """
    if not has_psf(image):
        from preprocessing.algorithms.psf_fit import missing_psf

        error = missing_psf(image.metrics.get("n_psf_stars"))
        name = image.observation.raw_file.name
        raise AlgorithmError(f"{called}, {name}: {error.message}", **error.numbers)


def _number(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _product_name(observation: Observation) -> str:
    """File name for downloads: the observation's id without what file systems dislike."""
    name = observation.observation_id[:120]
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def _inputs(observation: Observation) -> dict[str, str]:
    files = {
        "raw": observation.raw_file,
        "mask": observation.mask_file,
        "noise": observation.noise_file,
        "psf": observation.psf_file,
    }
    return {name: file.sha256 for name, file in files.items() if file is not None}


def provenance_cards(observation: Observation, run: ProcessingRun) -> dict[str, Any]:
    """Cards that say what a product was made of and by what."""
    return {
        "SURVEY": observation.survey.name,
        "OBSID": observation.observation_id,
        "OBJECT": observation.target,
        "FILTER": observation.band,
        "DATE-OBS": observation.observed_at.isoformat() if observation.observed_at else None,
        "MJD-MID": observation.mid_mjd,
        "RAWSHA": observation.raw_file.sha256,
        "SIMULATE": observation.is_simulated,
        "PIPEVER": run.pipeline_version,
        "CODEVER": code_version(),
        "ORIGIN": "AstrID",
    }


@dataclass(frozen=True)
class StageViews:
    """What pages show of one stage's images."""

    layers: Iterable[Layer]
    mask: MaskArray
    pictures: dict[str, bytes]
    facts: dict[str, Any]


def store_views(views: StageViews, *, name: str) -> StoredFile:
    """Tiles and small pictures for pages, so that no page ever reads a whole frame."""
    from astrid_site.imaging.pyramid import write_views

    with scratch_folder() as folder:
        path = folder / "views"
        facts = clean_json(views.facts)
        write_views(path, views.layers, mask=views.mask, pictures=views.pictures, facts=facts)
        return put_file(path, kind=FileKind.PREVIEW, name=name, media_type=VIEWS_TYPE)


def redraw(science: ScienceImage) -> StoredFile:
    """What pages show of a finished science image, made anew from its stored products."""
    if science.file is None or science.stars_file is None:
        msg = f"science: {science.pk} has no product"
        raise ValueError(msg)
    image = load_image(science.file)
    raw = cut_to_light(science.observation, load_raw(science.observation)[0], shape=image.shape)
    views = _views(raw, image, load_stars(science.stars_file), background=None)
    return store_views(views, name=f"{_product_name(science.observation)}.views")


def _views(
    raw: Image, image: Image, stars: StarList, *, background: NDArray[np.float32] | None
) -> StageViews:
    from astrid_site.imaging import stage_views

    facts = {
        "sky": stage_views.sky_facts(image),
        "stars": stage_views.star_facts(stars.x, stars.y, stars.is_star),
        "background": None if background is None else stage_views.range_of(background),
        "before": stage_views.range_of(raw.data),
        "after": stage_views.range_of(image.data),
    }
    pictures = stage_views.science_pictures(raw, image, background=background)
    residuals = _psf_residuals(image, stars)
    if residuals is not None:
        facts["psf_residuals"] = residuals.as_json()
        pictures["psf-residuals"] = stage_views.residual_picture(residuals.images)
    return StageViews(
        stage_views.science_layers(image, raw=raw, background=background),
        image.mask,
        pictures,
        facts,
    )


def _psf_residuals(image: Image, stars: StarList) -> PsfResiduals | None:
    """What the PSF leaves of the frame's stars; None without PSF or without any star."""
    if image.psf is None or image.variance is None:
        return None
    from preprocessing.algorithms.psf_residuals import measure_psf_residuals

    found = measure_psf_residuals(image, stars)
    return found if found.n_stars.any() else None


def frame_numbers(image: Image) -> dict[str, Any]:
    """Masked pixels by plane, and the width of the PSF at nine places of the frame."""
    from astrid_site.imaging.inspection import count_planes, psf_widths

    return {
        "mask_counts": count_planes(image.mask),
        "psf_fwhm_grid_pix": None if image.psf is None else psf_widths(image.psf),
    }
