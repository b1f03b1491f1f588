"""Hostile, broken and merely unusual FITS files, made from bytes."""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Iterable

import numpy as np
from astropy.io import fits

BLOCK = 2880


def header(cards: Iterable[tuple[str, object]], *, end: bool = True) -> bytes:
    """Raw header of cards, written without any check."""
    lines = [f"{key:<8}= {_value(value):>20}"[:80].ljust(80) for key, value in cards]
    if end:
        lines.append("END".ljust(80))
    text = "".join(lines).encode("latin-1")
    return text + b" " * (-len(text) % BLOCK)


def image(
    pixels: np.ndarray, *extra: tuple[str, object], claims: dict[str, object] | None = None
) -> bytes:
    """A primary image of raw big-endian pixels; ``claims`` overrides structural cards."""
    bitpix = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}[pixels.dtype.str[1:]]
    cards: dict[str, object] = {"SIMPLE": True, "BITPIX": bitpix, "NAXIS": pixels.ndim}
    cards |= {f"NAXIS{i + 1}": n for i, n in enumerate(reversed(pixels.shape))}
    cards |= claims or {}
    data = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    return header([*cards.items(), *extra]) + data + b"\0" * (-len(data) % BLOCK)


def compressed(pixels: np.ndarray, algorithm: str, tile: tuple[int, int] = (32, 32)) -> bytes:
    """A tile-compressed image as astropy writes it."""
    hdu = fits.CompImageHDU(pixels, compression_type=algorithm, tile_shape=tile)
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    return file.getvalue()


def replace_card(raw: bytes, key: str, value: object) -> bytes:
    """The file with the value of one card replaced in place."""
    start = raw.index(f"{key:<8}=".encode())
    return raw[:start] + f"{key:<8}= {_value(value):>20}".ljust(80).encode() + raw[start + 80 :]


def gzip_bomb(size: int) -> bytes:
    """A small gzip file that unpacks to a FITS header and ``size`` zeros."""
    return gzip.compress(image(np.zeros((64, 64), ">i2")) + b"\0" * size)


def bzip2(raw: bytes) -> bytes:
    """The bytes in a bzip2 container."""
    return bz2.compress(raw)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    return f"'{value:<8}'" if isinstance(value, str) else str(value)
