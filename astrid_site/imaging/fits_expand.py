"""Tells FITS from everything else by its first bytes, and unpacks gzip and bzip2 within bounds."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path
from typing import IO

from astrid_site.imaging.errors import ImageReadError
from astrid_site.imaging.fits_limits import MIB, GateLimits

_CHUNK = MIB

#: First bytes of what people and archives send instead of FITS.
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x9d", "a Unix compress (.Z) file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"7z\xbc\xaf", "a 7-zip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"Obj\x01", "an Avro file"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x80", "a Python pickle"),
    (b"XTENSION", "a FITS extension without its primary header"),
)
_COMPRESSED = ("a Unix compress (.Z) file", "an xz file", "a zip archive", "a zstd file")


def expand(path: Path, *, file_name: str, limits: GateLimits, directory: Path) -> Path:
    """The plain FITS file behind a path: itself, or the content of its gzip or bzip2 container.

    Raises
    ------
    ImageReadError
        ``empty``, ``too_large``, ``not_fits``, ``unsupported_compression``, ``bomb`` or
        ``damaged_container``.
    """
    size = path.stat().st_size
    if size == 0:
        raise ImageReadError(
            "the file is empty.", file_name=file_name, code="empty", remedy="Send it again."
        )
    if size > limits.max_file_bytes:
        raise ImageReadError(
            f"the file has {size} bytes, {limits.max_file_bytes} are allowed.",
            file_name=file_name,
            code="too_large",
            remedy="Send single exposures rather than mosaics.",
        )
    with path.open("rb") as stream:
        head = stream.read(80)
    if head[:2] == b"\x1f\x8b" or (head[:3] == b"BZh" and head[4:10] == b"1AY&SY"):
        return _unpack(path, file_name=file_name, limits=limits, target=directory / "expanded.fits")
    require_fits(head, file_name=file_name)
    return path


def require_fits(head: bytes, *, file_name: str) -> None:
    """Refuse anything whose first card is not ``SIMPLE  =``."""
    if head[:9] == b"SIMPLE  =":
        return
    what = next((name for magic, name in _FOREIGN if head.startswith(magic)), "")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not what and text[:1] in (b"<", b"{", b"["):
        what = "an HTML, XML or JSON answer, often an archive's error page"
    raise ImageReadError(
        f"the file is not FITS{f': it looks like {what}' if what else ''}.",
        file_name=file_name,
        code="unsupported_compression" if what in _COMPRESSED else "not_fits",
        remedy="Send FITS, plain or packed with gzip, bzip2 or fpack.",
    )


def _unpack(path: Path, *, file_name: str, limits: GateLimits, target: Path) -> Path:
    ratio_cap = max(limits.free_expansion_bytes, limits.max_expansion_ratio * path.stat().st_size)
    cap = min(limits.max_expanded_bytes, ratio_cap)
    try:
        with _open_container(path) as source, target.open("wb") as sink:
            _copy(source, sink, file_name=file_name, cap=cap)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(error, file_name=file_name) from error
    except OSError as error:
        # bz2 reports bad data as a bare OSError; a full disk has an errno and is no fault of it
        if error.errno is not None:
            raise
        raise _damaged(error, file_name=file_name) from error
    return target


def _open_container(path: Path) -> gzip.GzipFile | bz2.BZ2File:
    with path.open("rb") as stream:
        magic = stream.read(2)
    return gzip.open(path, "rb") if magic == b"\x1f\x8b" else bz2.open(path, "rb")


def _copy(
    source: gzip.GzipFile | bz2.BZ2File, sink: IO[bytes], *, file_name: str, cap: int
) -> None:
    written = 0
    while chunk := source.read(_CHUNK):
        if written == 0:
            require_fits(chunk[:80], file_name=file_name)
        written += len(chunk)
        if written > cap:
            raise ImageReadError(
                f"the container unpacks to more than {cap} bytes.",
                file_name=file_name,
                code="bomb",
                remedy="Send the file unpacked, or packed with fpack.",
            )
        sink.write(chunk)
    if written == 0:
        raise ImageReadError(
            "the container is empty.", file_name=file_name, code="empty", remedy="Send it again."
        )


def _damaged(error: Exception, *, file_name: str) -> ImageReadError:
    return ImageReadError(
        f"the container is damaged ({error}).",
        file_name=file_name,
        code="damaged_container",
        remedy="Download the file again.",
    )
