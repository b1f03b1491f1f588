"""What the stages did to one observation, as pictures with the numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.urls import reverse

from astrid_site.core.models import StoredFile
from astrid_site.core.templatetags.astro import number, significant
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.pyramid import Views
from astrid_site.pages.depth_curve import DepthView, draw_depth
from astrid_site.pages.score_histogram import HistogramView, draw_histogram
from astrid_site.pages.view_files import open_views, parts_url, stored_views
from astrid_site.pages.zero_point import zero_point_rows
from detection.models import Detection, DetectionRun
from differencing.models import DifferenceRun
from differencing.pages import QualityRow, quality_of, quality_rows
from observations.models import Observation
from preprocessing.models import CalibrationMaster, ScienceImage
from preprocessing.services import PSF_NONE, PSF_OF_FEW_STARS

#: Marks are this part of the frame's longer side.
_RING = 0.011
_BAR = 100.0
#: chi2 up to which a star was subtracted well, and to which passably.
_RESIDUAL_CLASSES = (("good", 0.0, 1.5), ("warn", 1.5, 2.5), ("bad", 2.5, math.inf))


_FRAME_WORDS: Mapping[str, Callable[..., str]] = {
    "sky_level": lambda value: f"sky {significant(value, 4)}",
    "sky_noise": lambda value: f"noise {significant(value, 3)}",
    "n_sources": lambda value: f"{significant(value)} sources",
    "n_stars": lambda value: f"{significant(value)} clean stars",
    "fwhm_pix": lambda value: f"PSF {number(value, 2)} pix",
    "limiting_magnitude": lambda value: f"5 σ of the noise at {number(value, 2)} mag",
    "limiting_magnitude_injected": lambda value: f"half found at {number(value, 2)} mag",
    "zero_point": lambda value: f"zero point {number(value, 3)}",
}
_DIFFERENCE_WORDS: Mapping[str, Callable[..., str]] = {
    "n_matched_stars": lambda value: f"{significant(value)} stars matched",
    "registration_rms_pix": lambda value: f"to {significant(value, 2)} pix",
    "n_kernel_stars": lambda value: f"kernel from {significant(value)} stars",
    "kernel_order": lambda value: f"order {value}",
    "kernel_chi2": lambda value: f"χ² {number(value, 2)}",
    "flux_ratio": lambda value: f"flux ratio {number(value, 3)}",
    "limiting_magnitude_injected": lambda value: f"half found at {number(value, 2)} mag",
}


@dataclass(frozen=True)
class BarRow:
    """A count with its bar; bars of counts are logarithmic."""

    label: str
    count: int
    share: float | None
    bar: float


@dataclass(frozen=True)
class Rings:
    """Circles of one kind over a frame, as one path."""

    kind: str
    label: str
    count: int
    path: str


@dataclass(frozen=True)
class Overlay:
    """A picture of the frame with rings on it."""

    url: str
    width: int
    height: int
    rings: tuple[Rings, ...]


@dataclass(frozen=True)
class FieldPicture:
    """Something drawn at places of the field, with its widths there, upper row first."""

    url: str
    widths: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ResidualPart:
    """What the PSF leaves of the stars in one part of the frame; None without stars."""

    n_stars: int
    largest: float | None
    error: float | None


@dataclass(frozen=True)
class ResidualPicture:
    """Residuals of stars over the frame, upper row first; colours reach to ``reach`` per cent."""

    url: str
    reach: float
    rows: tuple[tuple[ResidualPart, ...], ...]


@dataclass(frozen=True)
class PreprocessPictures:
    """The frame before and after, its sky, mask, stars and PSF."""

    before: str
    after: str
    stars: Overlay
    background: str
    background_range: Mapping[str, float] | None
    psf: FieldPicture | None
    psf_problem: str
    residuals: ResidualPicture | None
    depth: DepthView | None
    zero_point: tuple[tuple[str, str], ...]
    planes: tuple[BarRow, ...]
    calibration: str
    masters: tuple[CalibrationMaster, ...]
    gain_doubt: str
    summary: str


@dataclass(frozen=True)
class DifferencePictures:
    """How the two images were matched, and how well."""

    kernel: str
    psf: FieldPicture | None
    residuals: Overlay
    histogram: HistogramView | None
    depth: DepthView | None
    verdict: str
    verdict_label: str
    quality: tuple[QualityRow, ...]
    summary: str


@dataclass(frozen=True)
class DetectPictures:
    """Where the candidates are, and what the cuts took away."""

    marks: Overlay
    cuts: tuple[BarRow, ...]
    n_candidates: int
    n_kept: int


@dataclass(frozen=True)
class StagePictures:
    """All of it; None for what has not been done, or was done before pictures were kept."""

    preprocess: PreprocessPictures | None
    difference: DifferencePictures | None
    detect: DetectPictures | None


def stage_pictures(observation: Observation) -> StagePictures:
    """Gather what the workers drew of an observation."""
    files = stored_views(observation)
    preprocess = difference = None
    if stored := files.get("preprocess"):
        science = ScienceImage.objects.filter(observation=observation, preview_file=stored)
        science = science.select_related("bias_master", "dark_master", "flat_master")
        preprocess = _preprocess(observation, stored, science.latest("created_at"))
    if stored := files.get("difference"):
        run = DifferenceRun.objects.filter(observation=observation, preview_file=stored)
        difference = _difference(observation, stored, run.latest("created_at"))
    detect = _detect(observation, difference.residuals) if difference else None
    return StagePictures(preprocess, difference, detect)


def _preprocess(
    observation: Observation, stored: StoredFile, image: ScienceImage
) -> PreprocessPictures:
    views, metrics = open_views(stored), image.metrics
    masters = (image.bias_master, image.dark_master, image.flat_master)
    url = parts_url(observation, "preprocess", stored)
    after = _image_url(observation, "science")
    shape = views.index["shape"]
    stars = views.facts.get("stars") or []
    rings = (
        _rings("good", "clean stars", [row for row in stars if row[2]], shape),
        _rings("other", "other sources", [row for row in stars if not row[2]], shape),
    )
    return PreprocessPictures(
        before=_picture(views, url, "before"),
        after=after,
        stars=Overlay(after, shape[1], shape[0], rings),
        background=_picture(views, url, "background"),
        background_range=views.facts.get("background"),
        psf=_field(views, url, metrics),
        psf_problem=_psf_problem(metrics),
        residuals=_residual_picture(views, url),
        depth=draw_depth(metrics),
        zero_point=zero_point_rows(metrics),
        planes=_plane_bars(metrics.get("mask_counts") or {}, shape),
        calibration=str(metrics.get("calibration") or ""),
        masters=tuple(master for master in masters if master is not None),
        gain_doubt=_gain_doubt(metrics),
        summary=_said(metrics, _FRAME_WORDS),
    )


def _difference(
    observation: Observation, stored: StoredFile, run: DifferenceRun
) -> DifferencePictures:
    views = open_views(stored)
    url = parts_url(observation, "difference", stored)
    shape = views.index["shape"]
    found = views.facts.get("residuals") or []
    rings = tuple(
        _rings(kind, _chi2_label(low, high), [r for r in found if low <= r[2] < high], shape)
        for kind, low, high in _RESIDUAL_CLASSES
    )
    histogram = run.metrics.get("score_histogram")
    return DifferencePictures(
        kernel=_picture(views, url, "kernel"),
        psf=_field(views, url, run.metrics),
        residuals=Overlay(_image_url(observation, "difference"), shape[1], shape[0], rings),
        histogram=draw_histogram(histogram) if histogram else None,
        depth=draw_depth(run.metrics),
        verdict=run.quality,
        verdict_label=quality_of(run).label,
        quality=tuple(quality_rows(run)),
        summary=_said(run.metrics, _DIFFERENCE_WORDS),
    )


def _said(metrics: Mapping[str, Any], words: Mapping[str, Callable[..., str]]) -> str:
    """The numbers that were measured, in words."""
    found = [(say, metrics.get(name)) for name, say in words.items()]
    return ", ".join(say(value) for say, value in found if isinstance(value, int | float))


def _chi2_label(low: float, high: float) -> str:
    if low == 0:
        return f"χ² below {high:g}"
    return f"χ² from {low:g} on" if math.isinf(high) else f"χ² {low:g} to {high:g}"


def _detect(observation: Observation, frame: Overlay) -> DetectPictures | None:
    """Candidates on the calibrated frame, which is as large as the difference."""
    run = DetectionRun.objects.filter(observation=observation).order_by("-created_at").first()
    if run is None or run.n_candidates is None:
        return None
    shape = (frame.height, frame.width)
    rows = Detection.objects.filter(run=run).values_list("x", "y", "is_kept")
    rings = (
        _rings("good", "kept", [row for row in rows if row[2]], shape),
        _rings("other", "failed a cut", [row for row in rows if not row[2]], shape),
    )
    return DetectPictures(
        marks=replace(frame, rings=rings),
        cuts=_cut_bars(run.metrics.get("failed_cuts") or {}, run.n_candidates),
        n_candidates=run.n_candidates,
        n_kept=run.n_kept or 0,
    )


def _cut_bars(failed: Mapping[str, int], n_candidates: int) -> tuple[BarRow, ...]:
    rows = sorted(failed.items(), key=lambda row: -row[1])
    return tuple(
        BarRow(
            name.replace("_", " "), count, count / max(1, n_candidates), _bar(count, n_candidates)
        )
        for name, count in rows
    )


def _plane_bars(counts: Mapping[str, int], shape: Sequence[int]) -> tuple[BarRow, ...]:
    n_pixels = shape[0] * shape[1]
    # PostgreSQL keeps the keys of JSON in an order of its own
    found = [
        (plane.name, counts[plane.name])
        for plane in MaskPlane
        if plane.name and plane.name in counts
    ]
    return tuple(
        BarRow(name.replace("_", " ").lower(), count, count / n_pixels, _bar(count, n_pixels))
        for name, count in found
    )


def _bar(count: int, whole: int) -> float:
    """Length of a logarithmic bar; one of something is a little, all of it everything."""
    if count <= 0 or whole <= 0:
        return 0.0
    return round(_BAR * math.log1p(count) / math.log1p(whole), 1)


def _field(views: Views, url: str, metrics: Mapping[str, Any]) -> FieldPicture | None:
    picture = _picture(views, url, "psf")
    if not picture:
        return None
    widths = metrics.get("psf_fwhm_grid_pix") or []
    side = math.isqrt(len(widths))
    rows = [tuple(widths[i : i + side]) for i in range(0, len(widths), side)] if side else []
    return FieldPicture(picture, tuple(reversed(rows)))


def _psf_problem(metrics: Mapping[str, Any]) -> str:
    """Why there is no PSF, or why it is doubtful; empty where all is well."""
    if PSF_OF_FEW_STARS in (metrics.get("quality_flags") or []):
        return f"It rests on {metrics.get('n_psf_stars')} stars; ten make a PSF to rely upon."
    if metrics.get("psf_source") != PSF_NONE:
        return ""
    # only here: it brings compiled code that no other page needs
    from preprocessing.algorithms.psf_fit import missing_psf

    return missing_psf(metrics.get("n_psf_stars")).message


def _gain_doubt(metrics: Mapping[str, Any]) -> str:
    """What the sky says against the gain that was used; empty where it agrees or cannot tell."""
    doubt = str(metrics.get("gain_doubt") or "")
    used, measured = metrics.get("gain_used"), metrics.get("gain_from_sky")
    if not doubt and metrics.get("gain_check") == "suspect" and used and measured:
        doubt = (
            f"the gain of {used:.3g} electrons per unit contradicts the sky's noise, "
            f"which says {measured:.3g}"
        )
    return f"{doubt[:1].upper()}{doubt[1:]}. Errors of fluxes depend on it." if doubt else ""


def _residual_picture(views: Views, url: str) -> ResidualPicture | None:
    picture, told = _picture(views, url, "psf-residuals"), views.facts.get("psf_residuals")
    if not picture or not told:
        return None
    parts = [
        ResidualPart(*row)
        for row in zip(told["n_stars"], told["largest"], told["error"], strict=True)
    ]
    side = math.isqrt(len(parts))
    rows = [tuple(parts[i : i + side]) for i in range(0, len(parts), side)]
    return ResidualPicture(picture, told["reach"], tuple(reversed(rows)))


def _picture(views: Views, url: str, name: str) -> str:
    """Address of a small picture; empty where it was not made."""
    return f"{url}{name}.png" if name in views.index["pictures"] else ""


def _image_url(observation: Observation, panel: str) -> str:
    return reverse("observations:image", args=[observation.pk, panel])


def _rings(kind: str, label: str, rows: Iterable[Sequence[float]], shape: Sequence[int]) -> Rings:
    """Circles around (x, y, ...) in the picture's own pixels, whose y points down."""
    chosen = list(rows)
    r = max(2.0, _RING * max(shape))
    circles = [
        f"M{x + 0.5 - r:.1f} {shape[0] - 0.5 - y:.1f}"
        f"a{r:.1f} {r:.1f} 0 1 0 {2 * r:.1f} 0a{r:.1f} {r:.1f} 0 1 0 {-2 * r:.1f} 0"
        for x, y, *_ in chosen
    ]
    return Rings(kind, label, len(chosen), "".join(circles))
