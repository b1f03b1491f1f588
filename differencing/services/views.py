"""What pages show of a difference: tiles, small pictures, and numbers for the eye."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid_site.core.models import StoredFile
from astrid_site.core.storage import read_range
from differencing.models import DifferenceRun
from preprocessing.services import StageViews, load_image, load_stars, store_views

if TYPE_CHECKING:
    from astrid_site.imaging.image import FloatArray, Image
    from differencing.algorithms.subtraction import Subtraction
    from preprocessing.algorithms.stars import StarList


def store_difference_views(
    difference: Image,
    template: Image,
    score: FloatArray,
    *,
    stars: StarList,
    name: str,
    kernels: FloatArray | None = None,
) -> StoredFile:
    """Tiles of template, difference and score, PSF and fitted kernel, residuals at stars."""
    from astrid_site.imaging import stage_views

    pictures = {}
    if difference.psf is not None:
        pictures["psf"] = stage_views.psf_picture(difference.psf)
    if kernels is not None:
        pictures["kernel"] = stage_views.kernel_picture(kernels, columns=math.isqrt(len(kernels)))
    facts = {
        "sky": stage_views.sky_facts(difference),
        "residuals": _residuals(difference, stars),
        # kept, for it is in no other product
        "kernels": None
        if kernels is None
        else [stage_views.rounded(k, decimals=6) for k in kernels],
    }
    layers = stage_views.difference_layers(difference, template, score)
    return store_views(StageViews(layers, difference.mask, pictures, facts), name=name)


def redraw(run: DifferenceRun) -> StoredFile:
    """What pages show of a finished difference, made anew from its stored products."""
    image = run.science_image
    if (
        run.file is None
        or run.template_file is None
        or run.score_file is None
        or image is None
        or image.stars_file is None
    ):
        msg = f"run: {run.pk} has no difference"
        raise ValueError(msg)
    return store_difference_views(
        load_image(run.file),
        load_image(run.template_file),
        load_image(run.score_file).data,
        stars=load_stars(image.stars_file),
        kernels=_kept_kernels(run.preview_file),
        name=f"{run.observation.observation_id}-difference.views",
    )


def _kept_kernels(stored: StoredFile | None) -> FloatArray | None:
    """The fitted kernels that the pictures made so far were drawn of."""
    from astrid_site.imaging.pyramid import ViewError, Views

    if stored is None:
        return None
    try:
        views = Views(lambda start, length: read_range(stored, start=start, length=length))
        kernels = views.facts.get("kernels")
    except ViewError:
        # the single picture that older versions made
        return None
    return None if kernels is None else np.asarray(kernels, dtype=np.float32)


def _residuals(difference: Image, stars: StarList) -> list[list[float]]:
    """x, y and chi2 of the bright clean stars."""
    from astrid_site.imaging.inspection import residuals_at_stars
    from astrid_site.imaging.stage_views import rounded

    if difference.variance is None:
        return []
    clean = stars.select(stars.is_star)
    found = residuals_at_stars(
        difference.data,
        difference.variance,
        mask=difference.mask,
        x=clean.x,
        y=clean.y,
        snr=clean.snr,
    )
    return rounded(list(zip(found.x, found.y, found.chi2, strict=True)))


def difference_numbers(subtraction: Subtraction, template: Image) -> dict[str, Any]:
    """Histogram of the score on blank sky, masked pixels by plane, and the limits it was judged by.

    The limits are kept with the numbers, so that a page shows those of the day.
    """
    from astrid_site.imaging.inspection import count_planes, psf_widths, score_histogram
    from differencing.algorithms.frame_doubts import FRAME_LIMITS
    from differencing.algorithms.quality import LIMITS

    of_frames = [one for one in FRAME_LIMITS if subtraction.metrics.get(one.name) is not None]
    histogram = score_histogram(
        subtraction.score,
        template.data,
        mask=subtraction.mask,
        fwhm_pix=subtraction.psf.fwhm_pix,
    )
    return {
        "score_histogram": None if histogram is None else histogram.as_json(),
        "mask_counts": count_planes(subtraction.mask),
        "psf_fwhm_grid_pix": psf_widths(subtraction.psf),
        "quality_limits": [
            {"name": limit.name, "passing": limit.passing, "tolerable": limit.tolerable}
            for limit in (*LIMITS, *of_frames)
        ],
    }
