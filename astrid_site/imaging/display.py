"""Arrays as PNG images: stretched honestly, one scale for all panels, missing pixels visible."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from astropy.visualization import ZScaleInterval
from numpy.typing import NDArray
from PIL import Image as PillowImage

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]

StretchName = Literal["zscale", "percentile", "asinh", "linear"]
ColormapName = Literal["gray", "gray_inverted", "cividis", "diverging"]

#: Okabe and Ito's reddish purple: in no colour map here, and seen by colour-blind eyes.
MISSING_COLOUR = (204, 121, 167)
_PERCENTILES = (1.0, 99.5)
#: Brightness above the low limit, in units of the range, where asinh turns from linear to log.
_ASINH_SOFTENING = 0.1
#: More pixels than this do not change percentiles visibly.
_SAMPLE = 200_000

_ANCHORS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "gray": ((0, 0, 0), (255, 255, 255)),
    "gray_inverted": ((255, 255, 255), (0, 0, 0)),
    # every eighth of cividis (Nunez, Anderton & Renslow 2018, PLoS ONE 13, e0199239)
    "cividis": (
        (0, 34, 78),
        (18, 53, 112),
        (59, 73, 108),
        (87, 93, 109),
        (112, 113, 115),
        (138, 134, 120),
        (165, 156, 116),
        (195, 179, 105),
        (254, 232, 56),
    ),
    # ColorBrewer RdBu reversed: blue is negative, red positive, white zero
    "diverging": (
        (5, 48, 97),
        (33, 102, 172),
        (67, 147, 195),
        (146, 197, 222),
        (247, 247, 247),
        (244, 165, 130),
        (214, 96, 77),
        (178, 24, 43),
        (103, 0, 31),
    ),
}


@dataclass(frozen=True)
class Limits:
    """Values shown as the first and the last colour; ``low < high``, both finite."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            msg = f"low, high: must be finite and ascending, got {self.low}, {self.high}"
            raise ValueError(msg)


def shared_limits(panels: Sequence[FloatArray], *, stretch: StretchName = "zscale") -> Limits:
    """Limits that suit several panels together, so that equal values look equal.

    Parameters
    ----------
    panels : sequence of NDArray[float32]
        Arrays of any shapes in one unit; NaN and infinite pixels do not count.
    stretch : {"zscale", "percentile", "asinh", "linear"}
        Linear spans minimum to maximum; percentile and asinh the 1st to the 99.5th percentile;
        zscale is IRAF's, which follows the background.

    Returns
    -------
    Limits
        [0, 1] above the value where the pixels are all equal, [0, 1] where none is finite.

    Raises
    ------
    ValueError
        If the stretch is unknown.
    """
    _check(stretch)
    values = _finite_sample(panels)
    if len(values) == 0:
        return Limits(0.0, 1.0)
    if stretch == "zscale":
        low, high = ZScaleInterval().get_limits(values)
    elif stretch == "linear":
        low, high = values.min(), values.max()
    else:
        low, high = np.percentile(values, _PERCENTILES)
    return _limits(float(low), float(high))


def symmetric_limits(panels: Sequence[FloatArray], *, percentile: float = 99.5) -> Limits:
    """Limits around zero for differences and scores: zero is the middle colour."""
    values = _finite_sample(panels)
    reach = float(np.percentile(np.abs(values), percentile)) if len(values) else 0.0
    return Limits(-reach, reach) if reach > 0 else Limits(-1.0, 1.0)


def _limits(low: float, high: float) -> Limits:
    """Limits with a positive range, also for constant data."""
    # float32 data cannot tell apart what differs by less than its rounding
    if high - low <= 1e-7 * max(abs(low), abs(high)):
        return Limits(low, low + max(1.0, 1e-6 * abs(low)))
    return Limits(low, high)


def _finite_sample(panels: Sequence[FloatArray]) -> NDArray[np.float64]:
    """Finite values of all panels, thinned evenly to a bounded number for each."""
    parts = []
    for panel in panels:
        flat = np.ravel(panel)
        flat = flat[:: max(1, flat.size // _SAMPLE)]
        parts.append(flat[np.isfinite(flat)].astype(np.float64))
    return np.concatenate(parts) if parts else np.zeros(0)


def scale_to_bytes(
    data: FloatArray, limits: Limits, *, stretch: StretchName = "zscale"
) -> ByteArray:
    """Map values to 0..255; clipped at the limits, 0 for pixels that are not finite.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Pixels.
    limits : Limits
        Values that become 0 and 255.
    stretch : {"zscale", "percentile", "asinh", "linear"}
        Transfer between them: logarithmic above a tenth of the range for asinh, else linear.

    Returns
    -------
    NDArray[uint8], shape (ny, nx)

    References
    ----------
    .. [1] Lupton et al. 2004, PASP 116, 133 (asinh).
    """
    _check(stretch)
    # float64: the range of float32 limits may overflow float32
    unit = (data.astype(np.float64) - limits.low) / (limits.high - limits.low)
    unit = np.clip(np.nan_to_num(unit, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    if stretch == "asinh":
        unit = np.arcsinh(unit / _ASINH_SOFTENING) / math.asinh(1.0 / _ASINH_SOFTENING)
    return np.asarray(np.rint(255.0 * unit), dtype=np.uint8)


def colormap_table(name: ColormapName) -> ByteArray:
    """Colours of a map, shape (256, 3)."""
    if name not in _ANCHORS:
        msg = f"colormap: must be one of {', '.join(_ANCHORS)}, got {name!r}"
        raise ValueError(msg)
    anchors = np.array(_ANCHORS[name], dtype=np.float64)
    at = np.linspace(0.0, len(anchors) - 1.0, 256)
    columns = [np.interp(at, np.arange(len(anchors)), anchors[:, i]) for i in range(3)]
    return np.asarray(np.rint(np.stack(columns, axis=-1)), dtype=np.uint8)


def render_png(
    data: FloatArray,
    *,
    limits: Limits | None = None,
    stretch: StretchName = "zscale",
    colormap: ColormapName = "gray",
    zoom: int = 1,
) -> bytes:
    """Render an array as a PNG with y upwards.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Pixels; those not finite are shown in ``MISSING_COLOUR``.
    limits : Limits, optional
        From ``shared_limits`` of all panels shown together; of this array alone by default.
    stretch : {"zscale", "percentile", "asinh", "linear"}
        How values map to colours.
    colormap : {"gray", "gray_inverted", "cividis", "diverging"}
        Colours; all of them keep their order for colour-blind eyes.
    zoom : int
        Whole number of image pixels per data pixel, so that data pixels stay square.

    Returns
    -------
    bytes
        A PNG file of shape (zoom ny, zoom nx).

    Raises
    ------
    ValueError
        If the array is not 2-D or empty, the zoom is below 1, or a name is unknown.
    """
    if data.ndim != 2 or data.size == 0:
        msg = f"data: must be 2-D and not empty, got shape {data.shape}"
        raise ValueError(msg)
    if zoom < 1:
        msg = f"zoom: must be at least 1, got {zoom}"
        raise ValueError(msg)
    shown = limits or shared_limits([data], stretch=stretch)
    table = colormap_table(colormap)
    levels = scale_to_bytes(data, shown, stretch=stretch)
    if not (known := np.isfinite(data)).all():
        # One entry of the palette has to show what is missing: the second darkest level
        # gives way to the darkest.
        levels[levels == 1] = 0
        levels[~known] = 1
        table[1] = MISSING_COLOUR
    upright = np.flipud(levels).repeat(zoom, axis=0).repeat(zoom, axis=1)
    picture = PillowImage.fromarray(np.ascontiguousarray(upright))
    # A palette: one byte for each pixel compresses three times as fast as three equal ones.
    picture.putpalette(table.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def render_frame_png(
    data: FloatArray,
    *,
    max_size: int = 1024,
    stretch: StretchName = "zscale",
    colormap: ColormapName = "gray",
) -> bytes:
    """Render a whole frame as a PNG no wider or higher than ``max_size``, averaging pixels.

    Limits are those of the full-resolution pixels, so that a zoomed cutout matches the frame.
    """
    if max_size < 1:
        msg = f"max_size: must be at least 1, got {max_size}"
        raise ValueError(msg)
    limits = shared_limits([data], stretch=stretch)
    factor = max(1, math.ceil(max(data.shape) / max_size))
    return render_png(downsample(data, factor), limits=limits, stretch=stretch, colormap=colormap)


def render_montage_png(
    images: FloatArray,
    *,
    columns: int,
    stretch: StretchName = "asinh",
    colormap: ColormapName = "cividis",
    is_signed: bool = False,
    zoom: int = 3,
) -> bytes:
    """Render small images of one size side by side at one scale, as a PNG with y upwards.

    Parameters
    ----------
    images : NDArray[float32], shape (n, ny, nx)
        In reading order of a frame: lowest row first, left to right.
    columns : int
        Images in a row.
    stretch, colormap
        See ``render_png``.
    is_signed : bool
        Whether zero is the middle colour; else the scale runs from zero to the largest value.
    zoom : int
        Image pixels per data pixel.

    Raises
    ------
    ValueError
        If there are no images, or they do not fill their rows.
    """
    if images.ndim != 3 or len(images) == 0 or len(images) % columns:
        msg = f"images: must fill rows of {columns}, got shape {images.shape}"
        raise ValueError(msg)
    n, ny, nx = images.shape
    grid = images.reshape(n // columns, columns, ny, nx)
    # a pixel of the lowest value between neighbours
    framed = np.pad(grid, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=0.0)
    mosaic = framed.transpose(0, 2, 1, 3).reshape(n // columns * (ny + 1), columns * (nx + 1))
    limits = (
        symmetric_limits([images], percentile=100.0)
        if is_signed
        else _limits(0.0, float(np.nanmax(images)))
    )
    return render_png(
        mosaic[:-1, :-1], limits=limits, stretch=stretch, colormap=colormap, zoom=zoom
    )


def downsample(data: FloatArray, factor: int) -> FloatArray:
    """Average ``factor`` x ``factor`` pixels; NaN only where a block has no finite pixel.

    Blocks cut by the upper and right edge average what they have.
    """
    if factor < 1:
        msg = f"factor: must be at least 1, got {factor}"
        raise ValueError(msg)
    if factor == 1:
        return np.asarray(data, dtype=np.float32)
    finite = np.isfinite(data)
    rows, columns = (np.arange(0, length, factor) for length in data.shape)
    total = np.add.reduceat(np.where(finite, data, 0.0).astype(np.float64), rows, axis=0)
    total = np.add.reduceat(total, columns, axis=1)
    count = np.add.reduceat(finite.astype(np.int64), rows, axis=0)
    count = np.add.reduceat(count, columns, axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), dtype=np.float32)


def _check(stretch: str) -> None:
    """Refuse an unknown stretch; names arrive from web requests."""
    if stretch not in get_args(StretchName):
        msg = f"stretch: must be one of {', '.join(get_args(StretchName))}, got {stretch!r}"
        raise ValueError(msg)
