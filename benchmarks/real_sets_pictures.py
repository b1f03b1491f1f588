"""One small picture for each real set: what went in, what came out, the known source marked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from astrid_site.imaging.display import (
    ColormapName,
    Limits,
    StretchName,
    downsample,
    render_png,
    shared_limits,
    symmetric_limits,
)

FloatArray = NDArray[np.float32]

PANEL = 230
GAP = 6
TITLE = 18
MAX_BYTES = 150_000
MARK = (230, 159, 0)


@dataclass(frozen=True)
class Panel:
    """One image of a row: its title, its pixels, and how they become colours."""

    title: str
    data: FloatArray
    limits: Limits
    stretch: StretchName = "linear"
    colormap: ColormapName = "gray"


def pair_panels(
    science: FloatArray, template: FloatArray, difference: FloatArray, score: FloatArray
) -> list[Panel]:
    """Science and template on one scale, the difference on its own, the score at 8 sigma."""
    both = shared_limits([science, template], stretch="asinh")
    return [
        Panel("science", science, both, "asinh"),
        Panel("reference", template, both, "asinh"),
        Panel("difference", difference, symmetric_limits([difference], percentile=99.8)),
        Panel("score, -8 to +8 sigma", score, Limits(-8.0, 8.0), "linear", "diverging"),
    ]


def write_picture(
    path: Path,
    panels: Sequence[Panel],
    *,
    marks: Sequence[tuple[float, float]] = (),
    zoom: tuple[float, float] | None = None,
    zoom_half: int = 24,
) -> None:
    """Write the panels in a row, and below it, where a place is given, that place enlarged."""
    shown = [(panels, list(marks))]
    if zoom is not None:
        near = [_cut(panel, zoom, zoom_half) for panel in panels]
        moved = [(x - round(zoom[0]) + zoom_half, y - round(zoom[1]) + zoom_half) for x, y in marks]
        shown.append((near, moved))
    for step in (4, 8, 12, 16, 24, 32, 42):
        rows = [[_panel(panel, at, step=step) for panel in row] for row, at in shown]
        png = _sheet(rows, [panel.title for panel in panels])
        if len(png) <= MAX_BYTES:
            break
    path.write_bytes(png)


def _sheet(rows: Sequence[Sequence[Pillow.Image]], titles: Sequence[str]) -> bytes:
    """Rows of pictures under their titles, as a PNG."""
    cell = max(picture.width for row in rows for picture in row) + GAP
    heights = [max(picture.height for picture in row) + GAP for row in rows]
    sheet = Pillow.new("RGB", (len(titles) * cell - GAP, TITLE + sum(heights) - GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, title in enumerate(titles):
        draw.text((column * cell + 2, 1), title, fill="black", font=font)
    top = TITLE
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (column * cell, top))
        top += height
    buffer = io.BytesIO()
    sheet.quantize(256, dither=Pillow.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _cut(panel: Panel, centre: tuple[float, float], half: int) -> Panel:
    """The surroundings of a place; NaN beyond the frame."""
    x, y = round(centre[0]), round(centre[1])
    padded = np.pad(panel.data.astype(np.float32), half, constant_values=np.nan)
    data = padded[y : y + 2 * half + 1, x : x + 2 * half + 1]
    return Panel(panel.title, data, panel.limits, panel.stretch, panel.colormap)


def _panel(panel: Panel, marks: Sequence[tuple[float, float]], *, step: int) -> Pillow.Image:
    """One panel at a whole number of pixels, in every step-th colour, the places ringed."""
    longest = max(panel.data.shape)
    factor = max(1, -(-longest * 4 // (5 * PANEL)))
    zoom = max(1, PANEL * factor // longest)
    data = downsample(panel.data, factor)
    png = render_png(
        data, limits=panel.limits, stretch=panel.stretch, colormap=panel.colormap, zoom=zoom
    )
    picture = Pillow.open(io.BytesIO(png))
    level = np.asarray(picture).astype(np.int64)
    # levels 0 and 1 are the darkest colour and the missing pixels
    coarse = np.where(level <= 1, level, np.clip(level // step * step + step // 2, 2, 255))
    reduced = Pillow.fromarray(coarse.astype(np.uint8))
    reduced.putpalette(picture.getpalette() or [])
    picture = reduced.convert("RGB")
    draw, scale, r = ImageDraw.Draw(picture), zoom / factor, 9
    for x, y in marks:
        # y runs upwards in the picture
        at_x, at_y = (x + 0.5) * scale, picture.height - (y + 0.5) * scale
        if 0 <= at_x < picture.width and 0 <= at_y < picture.height:
            draw.ellipse((at_x - r, at_y - r, at_x + r, at_y + r), outline=MARK, width=2)
    return picture
