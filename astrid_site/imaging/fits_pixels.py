"""Raw pixels of a checked HDU to native float32, scaled in float64; runs in the reader process."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
# blocks that stay in the processor's cache
_BLOCK_PIXELS = 250_000
#: Cards that describe a tile-compressed table; nothing else reaches astropy.
_TILE_KEYS = re.compile(
    r"XTENSION|BITPIX|NAXIS[12]?|PCOUNT|GCOUNT|TFIELDS|THEAP|(TTYPE|TFORM|ZNAME|ZVAL)\d{1,2}"
    r"|ZIMAGE|ZCMPTYPE|ZBITPIX|ZNAXIS\d{0,2}|ZTILE\d{1,2}|ZQUANTIZ|ZDITHER0|ZBLANK|ZSCALE|ZZERO"
)


def decode_pixels(job: dict[str, Any]) -> int:
    """Write the pixels of one HDU as a float32 ``.npy`` file; blank pixels become NaN.

    BZERO, BSCALE and BLANK are applied here in float64 rather than by astropy, whose version 8.0.2
    raises on the legal ``BZERO = -128.0``.

    Parameters
    ----------
    job : dict
        ``path``, ``kind``, ``values`` (cards), ``data_offset``, ``data_bytes``, ``shape`` (ny, nx)
        and ``output``.

    Returns
    -------
    int
        Number of finite pixels.
    """
    ny, nx = job["shape"]
    rows = max(1, _BLOCK_PIXELS // nx)
    finite = 0
    with Path(job["output"]).open("wb") as output:
        layout = {"descr": "<f4", "fortran_order": False, "shape": (ny, nx)}
        write_array_header_1_0(output, layout)
        for raw in _tiles(job, rows) if job["kind"] == "compressed" else _plain(job, rows):
            block = _scale(raw, job["values"], blank=_blank(job["values"], raw))
            finite += int(np.isfinite(block).sum())
            output.write(np.ascontiguousarray(block, dtype="<f4").data)
    return finite


def _plain(job: dict[str, Any], rows: int) -> Iterator[NDArray[Any]]:
    """Blocks of rows, read one at a time: neither file nor frame is ever whole in memory."""
    dtype = np.dtype(_DTYPES[job["values"]["BITPIX"]])
    ny, nx = job["shape"]
    with Path(job["path"]).open("rb") as stream:
        stream.seek(job["data_offset"])
        for first in range(0, ny, rows):
            count = min(rows, ny - first) * nx
            block = np.fromfile(stream, dtype=dtype, count=count)
            yield block.reshape(-1, nx)


def _tiles(job: dict[str, Any], rows: int) -> Iterator[NDArray[Any]]:
    from astropy.io import fits

    with Path(job["path"]).open("rb") as stream:
        stream.seek(job["data_offset"])
        data = stream.read(job["data_bytes"])
    header = fits.Header()
    for keyword, value in job["values"].items():
        if _TILE_KEYS.fullmatch(keyword):
            header[keyword] = value
    if isinstance(job["values"].get("BLANK"), int) and job["values"]["ZBITPIX"] > 0:
        header.pop("ZBLANK", None)
    primary = fits.PrimaryHDU().header.tostring().encode("ascii")
    padding = b"\0" * (-len(data) % 2880)
    file = io.BytesIO(primary + header.tostring().encode("ascii") + data + padding)
    with fits.open(file, memmap=False, do_not_scale_image_data=True) as hdus:
        raw = np.asarray(hdus[1].data).reshape(job["shape"])
    for first in range(0, len(raw), rows):
        yield raw[first : first + rows]


def _blank(values: dict[str, Any], raw: NDArray[Any]) -> int | None:
    if raw.dtype.kind == "f":
        return None
    blank = values.get("BLANK", values.get("ZBLANK"))
    return blank if isinstance(blank, int) and not isinstance(blank, bool) else None


def _scale(raw: NDArray[Any], values: dict[str, Any], *, blank: int | None) -> NDArray[np.float32]:
    bscale, bzero = _factor(values, "BSCALE", 1.0), _factor(values, "BZERO", 0.0)
    if raw.dtype.kind == "f" and raw.dtype.itemsize == 4 and (bscale, bzero) == (1.0, 0.0):
        return raw.astype(np.float32)
    # values beyond float32 become infinite on purpose: they are unusable, and flagged as such
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = raw.astype(np.float64)
        if bscale != 1.0:
            scaled *= bscale
        if bzero != 0.0:
            scaled += bzero
        pixels = scaled.astype(np.float32)
    if blank is not None:
        pixels[raw == blank] = np.nan
    return pixels


def _factor(values: dict[str, Any], key: str, default: float) -> float:
    value = values.get(key, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number else default
