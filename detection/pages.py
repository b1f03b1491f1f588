"""What pages show of a candidate: its four cutouts, the cuts it met, and honest warnings."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.urls import reverse

from astrid_site.core.errors import ApplicationError
from astrid_site.core.templatetags.astro import significant, words
from astrid_site.imaging.masks import MaskPlane, plane_names
from detection import selectors
from detection.algorithms.orientation import SkyOrientation, choose_bar, orient_to_sky
from detection.models import Detection
from differencing.pages import quality_of
from observations.models import Observation

SIZE = 63
STRETCHES = ("zscale", "asinh", "percentile", "linear")
#: The score image is always shown on this scale, so that its colours mean the same everywhere.
SCORE_REACH = 10.0

PANELS = {
    "science": "Science",
    "template": "Reference",
    "difference": "Difference",
    "score": "Score",
}
_PLANE_WARNINGS = {
    "NO_DATA": "pixels without data beside it",
    "SATURATED": "saturated pixels beside it",
    "BLEED": "a bleed trail beside it",
    "COSMIC_RAY": "a cosmic ray was masked beside it",
    "BAD_PIXEL": "bad pixels beside it",
    "TRAIL": "a satellite trail beside it",
    "EDGE": "at the edge of the frame",
    "STAR_HALO": "in the halo of a bright star",
    "USER": "pixels masked by the observer beside it",
    "UNSETTLED": "the epochs of the reference disagree here: something changed before this frame",
}
#: What a person reads for the name of a cut; the card says what the first two are.
CUT_NAMES = {
    "score": "significance [\u03c3]",
    "flux_snr": "flux S/N",
    "mask_fraction": "share of it masked",
    "psf_chi2": "misfit to the PSF",
    "fwhm_ratio_low": "width / PSF, not less",
    "fwhm_ratio_high": "width / PSF, not more",
    "elongation": "length / width",
    "sharpness": "peak / peak of the PSF",
    "dipole_ratio": "opposite lobe / flux",
    "negative_fraction": "share of opposite sign",
    "saturated_distance_fwhm": "to saturation [widths]",
}
#: A smaller number says only that it is next to nothing.
_LEAST_SHOWN = 0.001


@dataclass(frozen=True)
class Panel:
    """One of the four pictures."""

    name: str
    label: str
    offset: int
    description: str


@dataclass(frozen=True)
class Place:
    """A position on one frame, with the frame it is on."""

    observation: Observation
    x: float
    y: float
    ra: float | None
    dec: float | None


@dataclass(frozen=True)
class CutoutView:
    """How to draw a square of pixels, or four of them, at one scale and one orientation."""

    strip: str
    size: int
    panels: tuple[Panel, ...]
    transform: str
    cross_x: float
    cross_y: float
    bar_pix: float
    bar_label: str
    orientation: str
    is_north_up: bool
    turn: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 1.0)
    scale_arcsec: float | None = None


@dataclass(frozen=True)
class CutRow:
    """One cut in words, with a bar for its margin."""

    name: str
    value: float | None
    limit: float
    margin: float | None
    kept: bool
    relation: str
    bar_x: float
    bar_width: float

    @property
    def shown(self) -> str:
        """The value, without powers of ten."""
        if self.value is None or not 0.0 < abs(self.value) < _LEAST_SHOWN:
            return str(significant(self.value, 3))
        return f"< {_LEAST_SHOWN}" if self.value > 0 else f"> \u2212{_LEAST_SHOWN}"


def view_cutouts(detection: Detection) -> CutoutView:
    """Orientation, scale bar and words for one candidate; expects its observation loaded."""
    frame = detection.observation
    place = Place(frame, detection.x, detection.y, detection.ra, detection.dec)
    panels = tuple(
        Panel(name, label, i * SIZE, _describe(name, detection))
        for i, (name, label) in enumerate(PANELS.items())
    )
    strip = reverse("detection:cutout", args=[detection.pk, "strip"])
    return view_place(place, strip=strip, size=SIZE, panels=panels)


def view_place(
    place: Place,
    *,
    strip: str,
    size: int,
    panels: tuple[Panel, ...] = (),
    middle: tuple[float, float] | None = None,
) -> CutoutView:
    """How to draw a square of pixels around a place, or around ``middle``, the place marked."""
    sky = _orientation(place)
    x, y = middle or (round(place.x), round(place.y))
    dx, dy = place.x - x, -(place.y - y)
    a, b, c, d = sky.matrix if sky else (1.0, 0.0, 0.0, 1.0)
    scale = sky.scale_arcsec if sky else None
    bar = choose_bar(size * scale) if scale else None
    half = size / 2
    return CutoutView(
        strip=strip,
        size=size,
        panels=panels,
        transform=f"translate({half:g} {half:g}) matrix({a:.6f} {b:.6f} {c:.6f} {d:.6f} 0 0) "
        f"translate(-{half:g} -{half:g})",
        cross_x=round(half + a * dx + c * dy, 3),
        cross_y=round(half + b * dx + d * dy, 3),
        bar_pix=round(bar / scale, 3) if bar and scale else 10.0,
        bar_label=_bar_label(bar),
        orientation="N up, E left" if sky else "as on the detector: no WCS",
        is_north_up=sky is not None,
        turn=(a, b, c, d),
        scale_arcsec=scale,
    )


def plane_label(plane: MaskPlane) -> str:
    """A plane of the mask as people read it."""
    return str(plane.name).replace("_", " ").lower()


def _orientation(place: Place) -> SkyOrientation | None:
    if place.ra is None or place.dec is None:
        return None
    frame = place.observation
    shape = (frame.image_height, frame.image_width)
    return orient_to_sky(frame.footprint, shape=shape, ra=place.ra, dec=place.dec)


def _bar_label(bar: float | None) -> str:
    if bar is None:
        return "10 pix"
    return f"{bar / 60:g}\u2032" if bar >= 60 else f"{bar:g}\u2033"


def _describe(panel: str, detection: Detection) -> str:
    """A cutout in words."""
    sign = "brighter" if detection.score > 0 else "fainter"
    if panel == "difference":
        width = f", width {detection.fwhm_pix:.1f} pix" if detection.fwhm_pix else ""
        return f"Difference: the source is {sign} than in the reference{width}"
    if panel == "score":
        return f"Score image: {detection.score:+.1f} sigma at the centre"
    name = "Science image" if panel == "science" else "Reference image"
    return f"{name}, {SIZE} by {SIZE} pixels around x {detection.x:.1f}, y {detection.y:.1f}"


def why_rows(detection: Detection) -> list[CutRow]:
    """Every cut with a bar: right of the middle passed, left failed, one limit = full length.

    The view of a second method, where one was asked, is the last row.
    """
    rows = [_cut_row(row) for row in selectors.why_here(detection)]
    return rows + ([_second_row(detection)] if detection.second_opinion else [])


def _second_row(detection: Detection) -> CutRow:
    """A second method's score against the least with which it agrees."""
    said: Mapping[str, Any] = detection.second_opinion or {}
    limit = math.copysign(float(said["least_score"]), detection.score)
    value = said["score"]
    # a score of the other sign is as far from agreeing as it can be
    margin = None if value is None else float(value) / limit - 1.0
    return _cut_row(
        {
            "name": f"significance by {said['method'].replace('/', ', ')}",
            "value": value,
            "limit": limit,
            "margin": margin,
            "kept": said["agrees"] is not False,
        }
    )


def _cut_row(row: Any) -> CutRow:
    cut: Mapping[str, Any] = row if isinstance(row, Mapping) else vars(row)
    margin = cut["margin"]
    reach = 0.0 if margin is None else max(-1.0, min(1.0, float(margin)))
    return CutRow(
        name=CUT_NAMES.get(cut["name"]) or words(str(cut["name"])),
        value=cut["value"],
        limit=cut["limit"],
        margin=margin,
        kept=bool(cut["kept"]),
        relation=_relation(cut["value"], limit=cut["limit"], margin=margin),
        bar_x=round(50 + min(0.0, reach) * 50, 2),
        bar_width=round(abs(reach) * 50, 2),
    )


def _relation(value: float | None, *, limit: float, margin: float | None) -> str:
    """Which way the limit lies: a margin grows with the value, or against it."""
    if value is None or margin is None or value == limit:
        return ""
    return "≥" if (value > limit) == (margin > 0) else "≤"


def warnings(detection: Detection) -> list[str]:
    """What should make one careful with this candidate."""
    said = [_PLANE_WARNINGS[n] for n in plane_names(detection.mask_flags) if n in _PLANE_WARNINGS]
    ny, nx = selectors.frame_shape(detection)
    margin = min(detection.x, detection.y, nx - 1 - detection.x, ny - 1 - detection.y)
    edge = _PLANE_WARNINGS[MaskPlane.EDGE.name or "EDGE"]
    if margin < SIZE // 2 and edge not in said:
        said.append(f"{margin:.0f} pix from the edge of the frame: the cutout runs off it")
    if abs(detection.score) < 6.0:
        said.append(f"low significance: {abs(detection.score):.1f} sigma")
    if detection.ra is None:
        said.append("the frame has no usable WCS: no sky position")
    run = detection.run.difference_run
    if run is not None and run.quality and run.quality != run.Quality.PASS:
        quality = quality_of(run)
        reasons = "; ".join(quality.reasons) or "no reason kept"
        said.append(f"the difference is {quality.verdict}: {reasons}")
    return said


def cutout_png(detection: Detection, *, panel: str, stretch: str, is_inverted: bool) -> bytes:
    """One panel as PNG, or all four side by side (``strip``)."""
    if panel != "strip" and panel not in PANELS:
        msg = f"panel must be one of strip, {', '.join(PANELS)}; got {panel!r}"
        raise ApplicationError(msg)
    if stretch not in STRETCHES:
        msg = f"stretch must be one of {', '.join(STRETCHES)}; got {stretch!r}"
        raise ApplicationError(msg)
    names = tuple(PANELS) if panel == "strip" else (panel,)
    return _render(detection, names, stretch=stretch, is_inverted=is_inverted)


def _render(
    detection: Detection, names: tuple[str, ...], *, stretch: str, is_inverted: bool
) -> bytes:
    """Draw panels: science and reference on one scale, difference and score around zero."""
    from PIL import Image as Picture

    from astrid_site.imaging import display

    planes = dict(zip(PANELS, selectors.cutouts(detection), strict=True))
    shown = cast("display.StretchName", stretch)
    gray: display.ColormapName = "gray_inverted" if is_inverted else "gray"
    shared = display.shared_limits([planes["science"], planes["template"]], stretch=shown)
    strip = Picture.new("RGB", (SIZE * len(names), SIZE))
    for i, name in enumerate(names):
        if name == "score":
            limits = display.Limits(-SCORE_REACH, SCORE_REACH)
            png = display.render_png(
                planes[name], limits=limits, stretch="linear", colormap="diverging"
            )
        elif name == "difference":
            limits = display.symmetric_limits([planes[name]])
            png = display.render_png(planes[name], limits=limits, stretch="linear", colormap=gray)
        else:
            png = display.render_png(planes[name], limits=shared, stretch=shown, colormap=gray)
        strip.paste(Picture.open(io.BytesIO(png)), (i * SIZE, 0))
    buffer = io.BytesIO()
    strip.save(buffer, format="PNG")
    return buffer.getvalue()
