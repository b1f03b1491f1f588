"""Stored bytes as a file that reads only the parts that are asked for, on disk or in a bucket."""

from __future__ import annotations

import io
import os
from functools import lru_cache
from typing import TYPE_CHECKING

from astrid_site.core.models import StoredFile
from astrid_site.core.storage import read_range

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Read at once; a window of a product is a few of these, and its rows share them.
CHUNK_BYTES = 1 << 18
#: Chunks kept of one open file.
_KEPT_CHUNKS = 16


class _Ranges(io.RawIOBase):
    """Bytes of a stored file by position; nothing is read that nobody asks for."""

    def __init__(self, stored: StoredFile) -> None:
        super().__init__()
        self._stored, self._at = stored, 0
        self._chunk = lru_cache(maxsize=_KEPT_CHUNKS)(self._read_chunk)

    def _read_chunk(self, number: int) -> bytes:
        return read_range(self._stored, start=number * CHUNK_BYTES, length=CHUNK_BYTES)

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """Any part can be read first."""
        return True

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a byte."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._stored.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as one chunk goes; 0 at the end."""
        room = memoryview(buffer).cast("B")
        number, first = divmod(self._at, CHUNK_BYTES)
        found = self._chunk(number)[first : first + len(room)]
        room[: len(found)] = found
        self._at += len(found)
        return len(found)


def open_ranged(stored: StoredFile) -> io.BufferedReader:
    """A stored file for reading parts of it, unchecked; whoever opens it closes it.

    Raises ChecksumError, when it is read, if the bytes are gone.
    """
    return io.BufferedReader(_Ranges(stored))
