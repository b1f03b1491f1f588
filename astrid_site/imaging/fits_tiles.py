"""Checks of tile-compressed images before any decompressor sees them."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.fits_cards import CardValue
from astrid_site.imaging.fits_limits import GateLimits

ALGORITHMS = frozenset(
    {"RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS"}
)
_FORMAT = re.compile(r"(\d*)([PQLXBIJKAEDCM])([A-Z]?)(?:\((\d+)\))?")
_WIDTH = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16}
_HCOMPRESS_MAGIC = b"\xdd\x99"


class TileError(ValueError):
    """A tile-compressed HDU contradicts itself; ``keyword`` is where."""

    def __init__(self, message: str, *, keyword: str) -> None:
        super().__init__(message)
        self.keyword = keyword


def image_shape(values: dict[str, CardValue], *, limits: GateLimits) -> tuple[int, ...]:
    """Shape (…, ny, nx) of the image that a tile-compressed table holds."""
    axes = _integer(values, "ZNAXIS", low=1, high=limits.max_axes)
    shape = [_integer(values, f"ZNAXIS{i}", low=1, high=2**31) for i in range(axes, 0, -1)]
    if math.prod(shape) > limits.max_pixels:
        msg = f"claims {math.prod(shape)} pixels, {limits.max_pixels} are allowed"
        raise TileError(msg, keyword="ZNAXIS")
    return tuple(shape)


def check_tiles(
    path: Path, values: dict[str, CardValue], *, data_offset: int, limits: GateLimits
) -> None:
    """Refuse a tile table whose claims about tiles, rows, columns or heap do not hold.

    Raises
    ------
    TileError
        At the first contradiction.
    """
    shape = image_shape(values, limits=limits)
    algorithm = values.get("ZCMPTYPE")
    if algorithm not in ALGORITHMS:
        raise TileError(f"unknown compression {algorithm!r}", keyword="ZCMPTYPE")
    if values.get("ZBITPIX") not in (8, 16, 32, 64, -32, -64):
        raise TileError(f"is {values.get('ZBITPIX')!r}", keyword="ZBITPIX")
    tile = _tile_shape(values, shape)
    rows = _integer(values, "NAXIS2", low=0, high=limits.max_pixels)
    expected = math.prod(math.ceil(n / t) for n, t in zip(shape, tile, strict=True))
    if rows != expected:
        raise TileError(f"has {rows} rows for {expected} tiles", keyword="NAXIS2")
    _check_parameters(values)
    columns = _columns(values)
    if "COMPRESSED_DATA" not in columns:
        raise TileError("has no COMPRESSED_DATA column", keyword="TTYPE1")
    heap = _Heap(path, values, data_offset=data_offset)
    for name, (start, code, item) in columns.items():
        if code in "PQ":
            pointers = heap.pointers(start, code=code, rows=rows)
            heap.check(pointers, item=item, column=name)
            if name == "COMPRESSED_DATA" and algorithm == "HCOMPRESS_1":
                _check_hcompress(heap, pointers, shape=shape, tile=tile)


class _Heap:
    """The heap of a binary table: where variable-length arrays lie."""

    def __init__(self, path: Path, values: dict[str, CardValue], *, data_offset: int) -> None:
        self.path = path
        self.data_offset = data_offset
        self.width = _integer(values, "NAXIS1", low=0, high=2**31)
        self.table = self.width * _integer(values, "NAXIS2", low=0, high=2**31)
        self.pcount = _integer(values, "PCOUNT", low=0, high=2**40)
        self.start = self.table
        if "THEAP" in values:
            high = self.table + self.pcount
            self.start = _integer(values, "THEAP", low=self.table, high=high)
        self.size = self.table + self.pcount - self.start

    def pointers(self, start: int, *, code: str, rows: int) -> NDArray[np.int64]:
        """(count, offset) of each row's array, shape (rows, 2)."""
        kind, width = (">i4", 8) if code == "P" else (">i8", 16)
        with self.path.open("rb") as stream:
            stream.seek(self.data_offset)
            raw = np.frombuffer(stream.read(self.table), dtype=np.uint8)
        cells = raw.reshape(rows, self.width)[:, start : start + width]
        return np.ascontiguousarray(cells).view(kind).astype(np.int64).reshape(rows, 2)

    def check(self, pointers: NDArray[np.int64], *, item: int, column: str) -> None:
        """Refuse arrays that do not lie inside the heap."""
        count, offset = pointers[:, 0], pointers[:, 1]
        used = count > 0
        # compare by subtraction: offset + count * item may overflow 64 bits on purpose
        outside = (count < 0) | (offset < 0) | (offset > self.size)
        outside |= count > (self.size - np.clip(offset, 0, self.size)) // item
        if bool((outside & (used | (count < 0))).any()):
            raise TileError(f"column {column} points outside its heap", keyword="PCOUNT")

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the heap."""
        with self.path.open("rb") as stream:
            stream.seek(self.data_offset + self.start + offset)
            return stream.read(length)


def _check_hcompress(
    heap: _Heap, pointers: NDArray[np.int64], *, shape: tuple[int, ...], tile: tuple[int, ...]
) -> None:
    # the decompressor writes as many pixels as the stream says into a buffer sized by the header:
    # a stream that says more corrupts the heap of the process
    counts = [math.ceil(n / t) for n, t in zip(shape, tile, strict=True)]
    for row, (count, offset) in enumerate(pointers.tolist()):
        if count == 0:
            continue
        index = np.unravel_index(row, counts)
        actual = [min(t, n - int(i) * t) for i, n, t in zip(index, shape, tile, strict=True)]
        head = heap.read(offset, 10)
        if len(head) < 10 or head[:2] != _HCOMPRESS_MAGIC:
            raise TileError(f"tile {row} is no HCOMPRESS stream", keyword="ZCMPTYPE")
        sides = struct.unpack(">ii", head[2:10])
        wanted = [n for n in actual if n > 1] or [1]
        if sorted(n for n in sides if n != 1) != sorted(n for n in wanted if n != 1):
            msg = f"tile {row} says {sides[0]}x{sides[1]} pixels, its header says {actual}"
            raise TileError(msg, keyword="ZTILE1")


def _tile_shape(values: dict[str, CardValue], shape: tuple[int, ...]) -> tuple[int, ...]:
    axes = len(shape)
    tile = []
    for axis in range(axes, 0, -1):
        length = shape[axes - axis]
        key = f"ZTILE{axis}"
        default = length if axis == 1 else 1
        tile.append(_integer(values, key, low=1, high=length) if key in values else default)
    return tuple(tile)


def _check_parameters(values: dict[str, CardValue]) -> None:
    allowed = {
        "BLOCKSIZE": (16, 32),
        "BYTEPIX": (1, 2, 4, 8),
        "SMOOTH": (0, 1),
    }
    for index in range(1, 10):
        name, value = values.get(f"ZNAME{index}"), values.get(f"ZVAL{index}")
        if isinstance(name, str) and name in allowed and value not in allowed[name]:
            raise TileError(f"{name} is {value!r}", keyword=f"ZVAL{index}")


def _columns(values: dict[str, CardValue]) -> dict[str, tuple[int, str, int]]:
    """Start, type code and item size of each column; the row width must be their sum."""
    columns: dict[str, tuple[int, str, int]] = {}
    start = 0
    for index in range(1, _integer(values, "TFIELDS", low=1, high=99) + 1):
        key = f"TFORM{index}"
        match = _FORMAT.fullmatch(str(values.get(key, "")).strip())
        if match is None:
            raise TileError(f"is {values.get(key)!r}", keyword=key)
        repeat, code, item = int(match[1] or 1), match[2], match[3]
        if code in "PQ" and (repeat > 1 or item not in _WIDTH):
            raise TileError(f"is {values.get(key)!r}", keyword=key)
        name = str(values.get(f"TTYPE{index}", index)).strip().upper()
        columns[name] = (start, code, _WIDTH.get(item, 1))
        start += _column_width(repeat, code)
    if start != _integer(values, "NAXIS1", low=0, high=2**31):
        raise TileError(f"is {values.get('NAXIS1')!r}, its columns need {start}", keyword="NAXIS1")
    return columns


def _column_width(repeat: int, code: str) -> int:
    if code == "X":
        return math.ceil(repeat / 8)
    return repeat * {"P": 8, "Q": 16}.get(code, _WIDTH.get(code, 1))


def _integer(values: dict[str, CardValue], key: str, *, low: int, high: int) -> int:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise TileError(f"is {value!r}, a number from {low} to {high} is needed", keyword=key)
    return value
