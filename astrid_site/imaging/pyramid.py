"""What pages show of an image: tiles at every scale and small pictures, together in one file.

A worker writes the file when a stage ends. Whoever serves it reads the index at its end and then
single parts, so that no frame is ever read whole to show a corner of it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import MaskArray

FloatArray = NDArray[np.float32]
CodeArray = NDArray[np.uint16]
Read = Callable[[int, int], bytes]

#: Side of a tile [pix].
TILE = 256
#: Value, in steps, from which on the rounding grows with the value.
SOFTENING = 1024.0
#: Code of a pixel without a value.
MISSING = 65535
#: Steps in the noise of a pixel: rounding adds 0.02 % to the noise and costs 6 bits a pixel.
STEPS_PER_NOISE = 16.0
MASK = "mask"

_MAGIC = b"AIDVIEW1"
_HEAD = len(_MAGIC) + 16
_LARGEST = 32767


@dataclass(frozen=True)
class Layer:
    """One image to be shown.

    Attributes
    ----------
    name : str
        Its name in addresses.
    data : NDArray[float32], shape (ny, nx)
        Pixels; NaN where there is nothing to show.
    step : float
        Rounding of values near zero [data units]; values beyond 1024 steps keep 0.05 %.
    facts : mapping
        What readers are told of it besides: unit, limits of the stretches.
    """

    name: str
    data: FloatArray
    step: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or self.data.size == 0:
            msg = f"data: must be 2-D and not empty, got shape {self.data.shape}"
            raise ValueError(msg)
        if not (np.isfinite(self.step) and self.step > 0):
            msg = f"step: must be positive, got {self.step}"
            raise ValueError(msg)


def encode_values(values: FloatArray, *, step: float) -> CodeArray:
    """Round values to 16 bits: evenly near zero, in proportion far from it.

    Parameters
    ----------
    values : NDArray[float32]
        Values; those not finite become ``MISSING``.
    step : float
        Rounding near zero [units of the values].

    Returns
    -------
    NDArray[uint16]
        ``n = 1024 asinh(value / (1024 step))`` rounded and folded to 0, -1, 1, -2, ... so that
        small values of either sign have an upper byte of zero, which compresses to nothing. A
        value v comes back within ``0.5 hypot(step, v / 1024)``.
    """
    finite = np.isfinite(values)
    # float32 throughout: its rounding is a hundredth of a code, and numpy is fast with it
    scaled = np.arcsinh(
        np.where(finite, values, np.float32(0)) * np.float32(1 / (SOFTENING * step))
    )
    level = np.clip(np.rint(np.float32(SOFTENING) * scaled), -_LARGEST, _LARGEST).astype(np.int32)
    # 0, -1, 1, -2 become 0, 1, 2, 3
    folded = (level << 1) ^ (level >> 31)
    return np.where(finite, folded, MISSING).astype(np.uint16)


def decode_values(codes: CodeArray, *, step: float) -> FloatArray:
    """Values of codes, NaN where they are ``MISSING``; see ``encode_values``."""
    folded = codes.astype(np.int32)
    level = (folded >> 1) ^ -(folded & 1)
    values = SOFTENING * step * np.sinh(level / SOFTENING)
    return np.where(codes == MISSING, np.nan, values).astype(np.float32)


def pack_tile(codes: CodeArray) -> bytes:
    """Codes as gzip: all lower bytes, then all upper bytes."""
    planes = codes.astype("<u2").view(np.uint8).reshape(-1, 2)
    # noise has no repeats to search for: run lengths and Huffman codes are all there is to gain
    packer = zlib.compressobj(1, zlib.DEFLATED, 31, 9, zlib.Z_RLE)
    return packer.compress(np.ascontiguousarray(planes.T).tobytes()) + packer.flush()


def unpack_tile(packed: bytes, shape: tuple[int, int]) -> CodeArray:
    """Codes of a tile of a known shape."""
    planes = np.frombuffer(zlib.decompress(packed, 31), np.uint8).reshape(2, -1)
    codes = planes[0].astype(np.uint16) | (planes[1].astype(np.uint16) << np.uint16(8))
    return np.asarray(codes.reshape(shape), dtype=np.uint16)


def write_views(
    path: Path,
    layers: Iterable[Layer],
    *,
    mask: MaskArray,
    pictures: Mapping[str, bytes] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write layers of one grid, their mask and small pictures as one file.

    Parameters
    ----------
    path : Path
        File to write.
    layers : Iterable of Layer
        Images of one shape, in the order in which they are offered; taken one at a time, so that
        a generator of large images keeps one of them in memory.
    mask : NDArray[uint16], shape (ny, nx)
        ``MaskPlane`` bits; a coarser pixel has every bit of the pixels below it.
    pictures : mapping of str to bytes, optional
        PNG files by name.
    facts : mapping, optional
        What readers are told besides; must be plain JSON.

    Raises
    ------
    ValueError
        If shapes differ, or a fact is not finite.
    """
    with path.open("wb") as file:
        file.write(bytes(_HEAD))
        index = {
            "tile": TILE,
            "softening": SOFTENING,
            "shape": list(mask.shape),
            "layers": [_write_layer(file, layer, mask.shape) for layer in layers],
            MASK: _write_mask(file, mask),
            "pictures": {
                name: _append(file, picture) for name, picture in (pictures or {}).items()
            },
            "facts": dict(facts or {}),
        }
        packed = zlib.compress(json.dumps(index, allow_nan=False).encode())
        start, length = _append(file, packed)
        file.seek(0)
        file.write(_MAGIC + start.to_bytes(8, "little") + length.to_bytes(8, "little"))


def _append(file: BinaryIO, data: bytes) -> list[int]:
    """Where the bytes lie: first byte and length."""
    start = file.tell()
    file.write(data)
    return [start, len(data)]


def _write_layer(file: BinaryIO, layer: Layer, shape: tuple[int, ...]) -> dict[str, Any]:
    if layer.data.shape != shape:
        msg = f"layers: {layer.name} must have the mask's shape {shape}, got {layer.data.shape}"
        raise ValueError(msg)
    levels, data, step = [], layer.data, layer.step
    while True:
        written = _write_level(file, data, partial(encode_values, step=step))
        levels.append({**written, "step": step})
        if max(data.shape) <= TILE:
            return {"name": layer.name, "levels": levels, "facts": dict(layer.facts)}
        # the mean of four pixels is twice as well known as one
        data, step = halve(data), step / 2


def _write_mask(file: BinaryIO, mask: MaskArray) -> dict[str, Any]:
    levels = [_write_level(file, mask, np.asarray)]
    while max(mask.shape) > TILE:
        mask = halve_mask(mask)
        levels.append(_write_level(file, mask, np.asarray))
    return {"name": MASK, "levels": levels}


def _write_level(
    file: BinaryIO, data: NDArray[Any], encode: Callable[[Any], CodeArray]
) -> dict[str, Any]:
    """Write the tiles of one level row by row; the last of a row or column may be smaller."""
    ny, nx = data.shape
    start, lengths = file.tell(), []
    for y in range(0, ny, TILE):
        for x in range(0, nx, TILE):
            codes = encode(data[y : y + TILE, x : x + TILE])
            lengths.append(file.write(pack_tile(codes)))
    return {"shape": [ny, nx], "start": start, "lengths": lengths}


def halve(data: FloatArray) -> FloatArray:
    """Means of 2 x 2 pixels over those that are finite; NaN where none is."""
    ny, nx = data.shape
    even = np.pad(data, ((0, ny % 2), (0, nx % 2)), constant_values=np.nan)
    total = np.zeros((even.shape[0] // 2, even.shape[1] // 2), dtype=np.float32)
    count = np.zeros_like(total)
    for part in (even[j::2, i::2] for j in (0, 1) for i in (0, 1)):
        finite = np.isfinite(part)
        total += np.where(finite, part, np.float32(0))
        count += finite
    mean = total / np.maximum(count, np.float32(1))
    return np.where(count > 0, mean, np.float32(np.nan)).astype(np.float32)


def halve_mask(mask: MaskArray) -> MaskArray:
    """Every bit that any of 2 x 2 pixels has."""
    ny, nx = mask.shape
    even = np.pad(mask, ((0, ny % 2), (0, nx % 2)))
    return even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]


def _tiles_between(start: int, stop: int, side: int) -> range:
    """Tiles along one axis that pixels from start to stop, as far as there are any, lie in."""
    first, last = max(0, start), min(side, stop) - 1
    return range(first // TILE, last // TILE + 1) if first <= last else range(0)


def _paste(tile: CodeArray, square: CodeArray, offset: tuple[int, int]) -> None:
    """Copy what of a tile lies in a square; the offset is the tile's first pixel in it."""
    spans = []
    for at, n_tile, n_square in zip(offset, tile.shape, square.shape, strict=True):
        begin, end = max(0, at), min(n_square, at + n_tile)
        spans.append((slice(begin, end), slice(begin - at, end - at)))
    (rows, tile_rows), (columns, tile_columns) = spans
    square[rows, columns] = tile[tile_rows, tile_columns]


def corner_of(x: float, y: float, *, size: int, level: int) -> tuple[int, int]:
    """Column and row, at a level, of the first pixel of a square around a position of the frame."""
    column, row = (round((value + 0.5) / 2**level - 0.5) - size // 2 for value in (x, y))
    return column, row


class ViewError(ValueError):
    """The file is not one of ours, or has no such part."""


class Views:
    """Parts of a file that ``write_views`` wrote.

    Parameters
    ----------
    read : callable
        ``read(start, length)`` gives those bytes of the file.
    """

    def __init__(self, read: Read) -> None:
        self._read = read

    @cached_property
    def index(self) -> dict[str, Any]:
        """What the file holds: shape, layers with their levels, mask, pictures, facts."""
        head = self._read(0, _HEAD)
        if len(head) != _HEAD or not head.startswith(_MAGIC):
            msg = "these are no tiles of an image"
            raise ViewError(msg)
        start, length = (int.from_bytes(head[i : i + 8], "little") for i in (8, 16))
        index: dict[str, Any] = json.loads(zlib.decompress(self._read(start, length)))
        return index

    @property
    def facts(self) -> dict[str, Any]:
        """What the writer told besides the pixels."""
        found: dict[str, Any] = self.index["facts"]
        return found

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers in order."""
        return tuple(layer["name"] for layer in self.index["layers"])

    def layer(self, name: str) -> dict[str, Any]:
        """Levels and facts of a layer or of the mask."""
        for layer in [*self.index["layers"], self.index[MASK]]:
            if layer["name"] == name:
                found: dict[str, Any] = layer
                return found
        msg = f"there is no layer {name!r}"
        raise ViewError(msg)

    def tile(self, name: str, level: int, *, row: int, column: int) -> bytes:
        """One tile of a layer as gzip, see ``pack_tile``."""
        levels = self.layer(name)["levels"]
        if not 0 <= level < len(levels):
            msg = f"{name} has no level {level}"
            raise ViewError(msg)
        rows, columns = (-(-side // TILE) for side in levels[level]["shape"])
        if not (0 <= row < rows and 0 <= column < columns):
            msg = f"{name} has no tile {row}, {column} at level {level}"
            raise ViewError(msg)
        place, lengths = row * columns + column, levels[level]["lengths"]
        return self._read(levels[level]["start"] + sum(lengths[:place]), lengths[place])

    def picture(self, name: str) -> bytes:
        """One of the small pictures, a PNG file."""
        if name not in self.index["pictures"]:
            msg = f"there is no picture {name!r}"
            raise ViewError(msg)
        return self._read(*self.index["pictures"][name])

    def overview(self, name: str, *, max_side: int) -> FloatArray:
        """Values of a whole layer at the finest level whose sides are at most ``max_side``."""
        levels = self.layer(name)["levels"]
        fitting = [i for i, part in enumerate(levels) if max(part["shape"]) <= max_side]
        return self._whole(name, fitting[0] if fitting else len(levels) - 1)

    def cut_out(self, name: str, x: float, y: float, *, size: int) -> FloatArray:
        """A square of the finest level around the pixel nearest to a position, NaN outside.

        Reads the tiles it touches and no others; ``size`` is odd, as for ``cutouts.cut_out``.
        """
        step = float(self.layer(name)["levels"][0]["step"])
        return decode_values(self.cut_codes(name, x, y, size=size), step=step)

    def cut_codes(self, name: str, x: float, y: float, *, size: int, level: int = 0) -> CodeArray:
        """Codes of a square of one level around a position of the frame, ``MISSING`` outside."""
        ny, nx = self.layer(name)["levels"][level]["shape"]
        left, bottom = corner_of(x, y, size=size, level=level)
        square = np.full((size, size), MISSING, dtype=np.uint16)
        for row_tile in _tiles_between(bottom, bottom + size, ny):
            for column_tile in _tiles_between(left, left + size, nx):
                shape = (min(TILE, ny - row_tile * TILE), min(TILE, nx - column_tile * TILE))
                tile = unpack_tile(self.tile(name, level, row=row_tile, column=column_tile), shape)
                _paste(tile, square, (row_tile * TILE - bottom, column_tile * TILE - left))
        return square

    def _whole(self, name: str, level: int) -> FloatArray:
        part = self.layer(name)["levels"][level]
        ny, nx = part["shape"]
        packed = self._read(part["start"], sum(part["lengths"]))
        codes, at = np.zeros((ny, nx), np.uint16), 0
        places = [(y, x) for y in range(0, ny, TILE) for x in range(0, nx, TILE)]
        for (y, x), length in zip(places, part["lengths"], strict=True):
            box = codes[y : y + TILE, x : x + TILE]
            box[:] = unpack_tile(packed[at : at + length], box.shape)
            at += length
        return decode_values(codes, step=float(part["step"]))
