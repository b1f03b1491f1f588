"""Triplets in NPZ files, read a few hundred at a time however many there are."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

ARRAY = "triplets"
_MEMBER = f"{ARRAY}.npy"


class TripletFileError(ValueError):
    """The file is not an NPZ with triplets; the message names the file and what is wrong."""


@dataclass(frozen=True)
class TripletFile:
    """An NPZ file with an array ``triplets`` of shape (n, ny, nx, 3).

    Attributes
    ----------
    path : Path
    shape : tuple of int
    dtype : numpy.dtype
        Any real number type.
    is_fortran : bool
        Stored with the first index fastest: such an array can only be read as a whole.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    is_fortran: bool

    def __len__(self) -> int:
        return self.shape[0]

    def batches(self, size: int) -> Iterator[NDArray[np.generic]]:
        """Successive parts of at most ``size`` triplets, each read when it is asked for.

        Raises
        ------
        TripletFileError
            If the file ends early or is damaged.
        """
        if self.is_fortran:
            whole = self._read_whole()
            yield from (whole[first : first + size] for first in range(0, len(self), size))
            return
        row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(_MEMBER) as stream:
                _read_header(stream)
                for first in range(0, len(self), size):
                    count = min(size, len(self) - first)
                    content = _read_exactly(stream, count * row_bytes)
                    part = np.frombuffer(content, dtype=self.dtype)
                    yield part.reshape(count, *self.shape[1:])
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            msg = f"{self.path}: damaged or cut short: {error}"
            raise TripletFileError(msg) from error

    def _read_whole(self) -> NDArray[np.generic]:
        with np.load(self.path, allow_pickle=False) as stored:
            whole: NDArray[np.generic] = stored[ARRAY]
            return whole


def open_triplets(path: Path, *, shape: tuple[int, int, int]) -> TripletFile:
    """Look at a file without reading its pixels.

    Parameters
    ----------
    path : Path
        Of the file.
    shape : tuple of int
        Needed shape of one triplet.

    Raises
    ------
    TripletFileError
        If the file is absent, no NPZ, without ``triplets``, holds objects or anything but real
        numbers, or has another shape.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if _MEMBER not in names:
                held = ", ".join(name.removesuffix(".npy") for name in names) or "nothing"
                msg = f"{path}: no array {ARRAY!r}; it holds {held}"
                raise TripletFileError(msg)
            with archive.open(_MEMBER) as stream:
                found, is_fortran, dtype = _read_header(stream)
    except FileNotFoundError as error:
        msg = f"{path}: no such file"
        raise TripletFileError(msg) from error
    except (zipfile.BadZipFile, OSError) as error:
        msg = f"{path}: not an NPZ file: {error}"
        raise TripletFileError(msg) from error
    except TripletFileError:
        raise
    except ValueError as error:
        msg = f"{path}: {ARRAY!r} is not a NumPy array: {error}"
        raise TripletFileError(msg) from error
    if dtype.hasobject or dtype.kind not in "fiub":
        msg = f"{path}: {ARRAY!r} has type {dtype}; real numbers are needed, never objects"
        raise TripletFileError(msg)
    if len(found) != 4 or found[1:] != shape:
        msg = f"{path}: {ARRAY!r} has shape {found}; (N, {', '.join(map(str, shape))}) is needed"
        raise TripletFileError(msg)
    return TripletFile(path, found, dtype, is_fortran)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, order and type of an .npy member; leaves the stream at its data."""
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    return npy.read_array_header_2_0(stream)


def _read_exactly(stream: IO[bytes], count: int) -> bytearray:
    content = bytearray()
    while len(content) < count:
        part = stream.read(min(count - len(content), 1 << 22))
        if not part:
            msg = f"{count - len(content)} bytes are missing"
            raise EOFError(msg)
        content += part
    return content
