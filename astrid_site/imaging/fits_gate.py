"""Stage one of reading FITS: the raw cards of every HDU, checked by arithmetic before any parser.

Nothing here imports astropy or trusts a number it has not bounded: a header of 4 kB can ask a
naive reader for gigabytes, and a crafted one can corrupt its heap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from astrid_site.imaging.errors import ImageReadError
from astrid_site.imaging.fits_cards import (
    BLOCK,
    CARD,
    Card,
    CardValue,
    first_values,
    is_end,
    parse_cards,
)
from astrid_site.imaging.fits_checksum import judge_sums, sum32
from astrid_site.imaging.fits_expand import expand
from astrid_site.imaging.fits_limits import GateLimits
from astrid_site.imaging.fits_tiles import TileError, check_tiles, image_shape
from astrid_site.imaging.scratch import scratch_folder

__all__ = ["GateLimits", "HduLayout", "Layout", "check_structure", "checked_file"]

_STRUCTURAL = ("BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "GROUPS", "ZIMAGE")
_AGAIN = "Download or export the file again."


@dataclass(frozen=True)
class HduLayout:
    """Where one HDU lies in the plain file and what its cards claim, all of it checked.

    Attributes
    ----------
    kind : str
        "image", "compressed" (a tile-compressed image), "table", "groups" or "empty".
    shape : tuple of int
        Image shape in numpy order, slowest axis first; empty unless it is an image.
    """

    index: int
    kind: str
    name: str
    version: int
    values: dict[str, CardValue]
    header_offset: int
    data_offset: int
    data_bytes: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """A plain FITS file that passed the gate."""

    path: Path
    hdus: tuple[HduLayout, ...]
    warnings: tuple[str, ...]


def check_structure(path: Path, *, file_name: str, limits: GateLimits | None = None) -> None:
    """Check every HDU of a file on its bytes alone.

    Raises
    ------
    ImageReadError
        With a ``code``: ``empty``, ``too_large``, ``not_fits``, ``unsupported_compression``,
        ``bomb``, ``damaged_container``, ``endless_header``, ``truncated``, ``malformed``,
        ``bad_tiles`` or ``checksum``.
    """
    with checked_file(path, file_name=file_name, limits=limits or GateLimits()):
        pass


@contextmanager
def checked_file(path: Path, *, file_name: str, limits: GateLimits) -> Iterator[Layout]:
    """The layout of a file that passes the gate; an unpacked copy lives as long as the context."""
    with scratch_folder() as folder:
        plain = expand(path, file_name=file_name, limits=limits, directory=folder)
        yield _Walk(plain, file_name=file_name, limits=limits).run()


class _Walk:
    """One pass over the HDUs of a plain file."""

    def __init__(self, path: Path, *, file_name: str, limits: GateLimits) -> None:
        self.path = path
        self.file_name = file_name
        self.limits = limits
        self.size = path.stat().st_size
        self.hdus: list[HduLayout] = []
        self.warnings: list[str] = []
        self.cards = 0

    def run(self) -> Layout:
        """Walk to the end of the file."""
        offset = 0
        with self.path.open("rb") as stream:
            while offset < self.size and self._starts_hdu(stream, offset):
                if len(self.hdus) >= self.limits.max_hdus:
                    raise self._error(f"has more than {self.limits.max_hdus} HDUs.", "too_large")
                offset = self._read_hdu(stream, offset)
        return Layout(path=self.path, hdus=tuple(self.hdus), warnings=tuple(self.warnings))

    def _starts_hdu(self, stream: IO[bytes], offset: int) -> bool:
        if offset == 0:
            return True
        stream.seek(offset)
        head = stream.read(CARD)
        if head[:8] == b"XTENSION":
            return True
        if head and b"XTENSION".startswith(head):
            raise self._error("ends inside an extension's header.", "truncated")
        self.warnings.append(f"{self.size - offset} bytes after the last HDU were ignored")
        return False

    def _read_hdu(self, stream: IO[bytes], offset: int) -> int:
        cards, data_offset = self._read_header(stream, offset)
        values = first_values(cards)
        self._refuse_repeats(cards)
        data_bytes = self._data_bytes(values)
        hdu = self._describe(values, offset=offset, data_offset=data_offset, data_bytes=data_bytes)
        self._check_room(hdu)
        if hdu.kind == "compressed":
            self._check_tiles(hdu)
        self._check_sums(hdu)
        self.hdus.append(hdu)
        return data_offset + math.ceil(data_bytes / BLOCK) * BLOCK

    def _read_header(self, stream: IO[bytes], offset: int) -> tuple[tuple[Card, ...], int]:
        raw: list[bytes] = []
        stream.seek(offset)
        position = offset
        while True:
            block = stream.read(BLOCK)
            position += len(block)
            split = [block[i : i + CARD] for i in range(0, len(block), CARD)]
            end = next((i for i, card in enumerate(split) if is_end(card)), None)
            raw += split[:end]
            self.cards += len(split)
            too_many = len(raw) > self.limits.max_cards
            if too_many or self.cards > 10 * self.limits.max_cards:
                msg = f"has a header of more than {self.limits.max_cards} cards."
                raise self._error(msg, "endless_header")
            if end is not None and (len(block) == BLOCK or position == self.size):
                return parse_cards(raw), position
            if len(block) < BLOCK:
                raise self._error("ends inside a header: no END card.", "truncated")

    def _refuse_repeats(self, cards: tuple[Card, ...]) -> None:
        seen: dict[str, CardValue | None] = {}
        for keyword, value in cards:
            # parsers disagree on which of two contradicting sizes counts
            structural = keyword in _STRUCTURAL or keyword.startswith(("NAXIS", "ZNAXIS", "ZTILE"))
            if structural and seen.setdefault(keyword, value) != value:
                raise self._error("is given twice, differently.", "malformed", keyword=keyword)

    def _data_bytes(self, values: dict[str, CardValue]) -> int:
        bitpix = values.get("BITPIX")
        if bitpix not in (8, 16, 32, 64, -32, -64):
            raise self._error(f"is {bitpix!r}.", "malformed", keyword="BITPIX")
        naxis = self._integer(values, "NAXIS", high=self.limits.max_axes)
        axes = [self._integer(values, f"NAXIS{i + 1}", high=2**63) for i in range(naxis)]
        if self.hdus or values.get("GROUPS") is True:
            pcount = self._integer(values, "PCOUNT", high=2**63, default=0)
            gcount = self._integer(values, "GCOUNT", high=2**63, default=1)
        else:
            pcount, gcount = 0, 1
        if values.get("GROUPS") is True and axes and axes[0] == 0:
            axes = axes[1:]
        if not axes:
            return 0
        return abs(int(bitpix)) // 8 * gcount * (pcount + math.prod(axes))

    def _describe(
        self, values: dict[str, CardValue], *, offset: int, data_offset: int, data_bytes: int
    ) -> HduLayout:
        kind, shape = self._kind(values, data_bytes)
        version = values.get("EXTVER", 1)
        return HduLayout(
            index=len(self.hdus),
            kind=kind,
            name=str(values.get("EXTNAME", "" if self.hdus else "PRIMARY")).strip(),
            version=version if isinstance(version, int) else 1,
            values=values,
            header_offset=offset,
            data_offset=data_offset,
            data_bytes=data_bytes,
            shape=shape,
        )

    def _kind(self, values: dict[str, CardValue], data_bytes: int) -> tuple[str, tuple[int, ...]]:
        extension = str(values.get("XTENSION", "IMAGE")).strip()
        if values.get("ZIMAGE") is True and extension == "BINTABLE":
            try:
                return "compressed", image_shape(values, limits=self.limits)
            except TileError as error:
                raise self._tile_error(error) from error
        if not self.hdus and values.get("SIMPLE") is not True:
            raise self._error("is not T: not standard FITS.", "malformed", keyword="SIMPLE")
        if values.get("GROUPS") is True and not self.hdus:
            return "groups", ()
        if extension != "IMAGE":
            return "table", ()
        if data_bytes == 0:
            return "empty", ()
        axes = self._integer(values, "NAXIS", high=self.limits.max_axes)
        shape = tuple(self._integer(values, f"NAXIS{i}", high=2**63) for i in range(axes, 0, -1))
        if math.prod(shape) > self.limits.max_pixels:
            msg = f"claims {math.prod(shape)} pixels, {self.limits.max_pixels} are allowed."
            raise self._error(msg, "too_large", keyword="NAXIS")
        return "image", shape

    def _check_room(self, hdu: HduLayout) -> None:
        end = hdu.data_offset + hdu.data_bytes
        if end > self.size:
            left = max(0, self.size - hdu.data_offset)
            msg = f"is cut: its header asks for {hdu.data_bytes} bytes, {left} follow."
            raise self._error(msg, "truncated")
        if end + (-hdu.data_bytes) % BLOCK > self.size:
            self.warnings.append("the padding after the last HDU is missing")

    def _check_tiles(self, hdu: HduLayout) -> None:
        try:
            check_tiles(self.path, hdu.values, data_offset=hdu.data_offset, limits=self.limits)
        except TileError as error:
            raise self._tile_error(error) from error

    def _check_sums(self, hdu: HduLayout) -> None:
        if "DATASUM" not in hdu.values:
            return
        header_bytes = hdu.data_offset - hdu.header_offset
        header_sum = sum32(self.path, offset=hdu.header_offset, length=header_bytes)
        data_sum = sum32(self.path, offset=hdu.data_offset, length=hdu.data_bytes)
        damaged, warning = judge_sums(hdu.values, header_sum=header_sum, data_sum=data_sum)
        if damaged:
            msg = "does not match the data: they changed after they were written."
            raise self._error(msg, "checksum", keyword="DATASUM")
        if warning:
            self.warnings.append(f"HDU {hdu.index}: {warning}")

    def _integer(
        self, values: dict[str, CardValue], key: str, *, high: int, default: int | None = None
    ) -> int:
        value = values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
            raise self._error(f"is {value!r}.", "malformed", keyword=key)
        return value

    def _tile_error(self, error: TileError) -> ImageReadError:
        return self._error(f"{error}.", "bad_tiles", keyword=error.keyword)

    def _error(self, message: str, code: str, *, keyword: str | None = None) -> ImageReadError:
        return ImageReadError(
            message if keyword else f"the file {message}",
            file_name=self.file_name,
            code=code,
            remedy=_AGAIN,
            hdu=len(self.hdus),
            keyword=keyword,
        )
