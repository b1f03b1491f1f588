"""Whole frames, finder charts and film strips as PNG, drawn from the stored products."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import StoredFile
from astrid_site.core.storage import local_copy
from astrid_site.pages.view_files import open_views
from detection.pages import SCORE_REACH, SIZE, STRETCHES

if TYPE_CHECKING:
    from astrid_site.imaging import display

FloatArray = NDArray[np.float32]

#: Longest side of a frame's picture [pix].
FRAME_SIZE = 1024
#: Pictures kept in memory by each server process.
KEPT = 24


@dataclass(frozen=True)
class Region:
    """A square part of a frame around a position [pix]."""

    x: float
    y: float
    size: int


def overview_png(stored: StoredFile, *, panel: str, stretch: str) -> bytes:
    """A whole image as PNG with y upwards, from the tiles that its worker made."""
    if stretch not in STRETCHES:
        msg = f"stretch must be one of {', '.join(STRETCHES)}; got {stretch!r}"
        raise ApplicationError(msg)
    return _overview_png(stored.sha256, panel, stretch)


@dataclass(frozen=True)
class PanelFile:
    """Where one image is: the tiles that a worker made, else the product itself."""

    views: StoredFile | None
    product: StoredFile | None


def region_png(file: PanelFile, *, panel: str, stretch: str, region: Region) -> bytes | None:
    """A part of an image as PNG, from the tiles it touches; None where no image is kept.

    Frames of versions that made no tiles are read from their product.
    """
    if file.views is not None:
        pixels = open_views(file.views).cut_out(panel, region.x, region.y, size=region.size)
        return _draw(pixels, panel=panel, stretch=stretch, region=None)
    if file.product is None:
        return None
    return frame_png(file.product, panel=panel, stretch=stretch, region=region)


@lru_cache(maxsize=KEPT)
def _overview_png(sha256: str, panel: str, stretch: str) -> bytes:
    from astrid_site.imaging import display

    views = open_views(StoredFile.objects.get(sha256=sha256))
    facts = views.layer(panel)["facts"]
    # differences and scores keep their scale around zero, whatever is asked for
    is_signed = bool(facts["is_signed"])
    return display.render_png(
        views.overview(panel, max_side=FRAME_SIZE),
        limits=display.Limits(*facts["limits"]["percentile" if is_signed else stretch]),
        stretch="linear" if is_signed else cast("display.StretchName", stretch),
        colormap="diverging" if panel == "score" else "gray",
    )


def frame_png(
    stored: StoredFile, *, panel: str, stretch: str, region: Region | None = None
) -> bytes:
    """A frame, or a part of it, as PNG with y upwards; score images keep one scale."""
    if stretch not in STRETCHES:
        msg = f"stretch must be one of {', '.join(STRETCHES)}; got {stretch!r}"
        raise ApplicationError(msg)
    return _frame_png(stored.sha256, panel, stretch, region)


@lru_cache(maxsize=KEPT)
def _frame_png(sha256: str, panel: str, stretch: str, region: Region | None) -> bytes:
    pixels = _pixels(StoredFile.objects.get(sha256=sha256), panel=panel)
    return _draw(pixels, panel=panel, stretch=stretch, region=region)


def _pixels(stored: StoredFile, *, panel: str) -> FloatArray:
    """Data of one of our own products, NaN where there is none.

    A saturated core shows in a frame, but its difference means nothing and is left out.
    """
    from astrid_site.imaging.fits_products import read_product
    from astrid_site.imaging.masks import UNUSABLE, MaskPlane, is_bad

    with local_copy(stored) as path:
        image, _ = read_product(path)
    planes = UNUSABLE if panel in {"difference", "score"} else MaskPlane.NO_DATA
    return np.where(is_bad(image.mask, planes), np.float32(np.nan), image.data)


def _draw(pixels: FloatArray, *, panel: str, stretch: str, region: Region | None) -> bytes:
    from astrid_site.imaging import display
    from astrid_site.imaging.cutouts import cut_out

    if region is not None:
        pixels = cut_out(pixels, region.x, region.y, size=region.size)
    factor = max(1, -(-max(pixels.shape) // FRAME_SIZE))
    limits = _limits(pixels, panel=panel, stretch=cast("display.StretchName", stretch))
    is_signed = panel in {"difference", "score"}
    return display.render_png(
        display.downsample(pixels, factor),
        limits=limits,
        stretch="linear" if is_signed else cast("display.StretchName", stretch),
        colormap="diverging" if panel == "score" else "gray",
    )


def _limits(pixels: FloatArray, *, panel: str, stretch: display.StretchName) -> display.Limits:
    from astrid_site.imaging import display

    if panel == "score":
        return display.Limits(-SCORE_REACH, SCORE_REACH)
    if panel == "difference":
        return display.symmetric_limits([pixels])
    return display.shared_limits([pixels], stretch=stretch)


def epoch_strip(files: dict[str, PanelFile], *, x: float, y: float, stretch: str) -> bytes:
    """Science, template, difference and score around one position of a frame, side by side."""
    from PIL import Image as Picture

    strip = Picture.new("RGB", (SIZE * len(files), SIZE))
    for i, (panel, file) in enumerate(files.items()):
        png = region_png(file, panel=panel, stretch=stretch, region=Region(x, y, SIZE))
        if png is None:
            continue
        strip.paste(Picture.open(io.BytesIO(png)), (i * SIZE, 0))
    buffer = io.BytesIO()
    strip.save(buffer, format="PNG")
    return buffer.getvalue()
