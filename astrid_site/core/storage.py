"""Where bytes live: kept once under the sha256 of their content, on disk or in an S3 bucket."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, cast

from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, default_storage, storages
from django.db.models.functions import Now

from astrid_site.core.errors import ApplicationError, TransientError
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.imaging.scratch import remove_abandoned, scratch_folder

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
PART = ".part"


class ChecksumError(ApplicationError):
    """The stored bytes are not those that were put there, or are gone."""


def put_file(path: Path, *, kind: FileKind, name: str, media_type: str) -> StoredFile:
    """Keep a copy of the file's bytes; the same bytes give the same row.

    The object is written before the row, so that no row ever points at nothing; an object
    whose row was never committed is collected later. Raises TransientError when the store
    does not answer, OSError when the disk is full.
    """
    sha256, size = _digest(path)
    # A touched row is young again, which keeps the garbage collection away from it until the
    # caller's reference is committed.
    is_known = StoredFile.objects.filter(sha256=sha256).update(created_at=Now())
    key = StoredFile(sha256=sha256).key
    with _passing_troubles():
        if not (is_known and default_storage.exists(key)):
            _write_object(path, key)
    stored, _ = StoredFile.objects.get_or_create(
        sha256=sha256,
        defaults={"size": size, "kind": kind, "media_type": media_type, "name": name[:255]},
    )
    return stored


def put_bytes(data: bytes, *, kind: FileKind, name: str, media_type: str) -> StoredFile:
    """Keep bytes that are in memory; see ``put_file``."""
    with scratch_folder(_work_folder()) as folder:
        path = folder / "bytes"
        path.write_bytes(data)
        return put_file(path, kind=kind, name=name, media_type=media_type)


@contextmanager
def local_copy(stored: StoredFile) -> Iterator[Path]:
    """A path to read the bytes from while the block lasts, checked against their sha256."""
    if _is_disk():
        path = Path(default_storage.path(stored.key))
        _verify(path, stored)
        yield path
        return
    with _downloaded(stored) as path:
        yield path


def open_stored(stored: StoredFile) -> BinaryIO:
    """Open the bytes for reading, unchecked, for sending them to people."""
    try:
        with _passing_troubles():
            return cast(BinaryIO, default_storage.open(stored.key, "rb"))
    except FileNotFoundError:
        raise _gone(stored) from None


def read_range(stored: StoredFile, *, start: int, length: int) -> bytes:
    """Some of the bytes, unchecked, without reading the others; fewer where the file ends."""
    try:
        with _passing_troubles():
            if _is_disk():
                with default_storage.open(stored.key, "rb") as file:
                    file.seek(start)
                    return bytes(file.read(length))
            return _read_from_bucket(stored.key, start=start, length=length)
    except FileNotFoundError:
        raise _gone(stored) from None


def _read_from_bucket(key: str, *, start: int, length: int) -> bytes:
    from botocore.exceptions import ClientError

    wanted = f"bytes={start}-{start + length - 1}"
    try:
        answer = default_storage.bucket.Object(key).get(Range=wanted)  # type: ignore[attr-defined]
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            raise FileNotFoundError(key) from error
        raise
    return bytes(answer["Body"].read())


def _is_disk() -> bool:
    return isinstance(storages["default"], FileSystemStorage)


def _gone(stored: StoredFile) -> ChecksumError:
    return ChecksumError(f"{stored.name}: the stored bytes {stored.sha256[:10]} are gone")


def _digest(path: Path) -> tuple[str, int]:
    """sha256 in hex, and size in bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


def _verify(path: Path, stored: StoredFile) -> None:
    try:
        found, _ = _digest(path)
    except FileNotFoundError:
        raise _gone(stored) from None
    if found != stored.sha256:
        msg = f"{stored.name}: checksum differs, stored as {stored.sha256[:10]}, read {found[:10]}"
        raise ChecksumError(msg)


def _write_object(path: Path, key: str) -> None:
    if _is_disk():
        _copy_durably(path, Path(default_storage.path(key)))
        return
    with path.open("rb") as file:
        default_storage.save(key, File(file, name=key))


def _copy_durably(source: Path, target: Path) -> None:
    """Copy so that after a crash the target is whole or absent, never half."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, part_name = tempfile.mkstemp(dir=target.parent, suffix=PART)
    part = Path(part_name)
    try:
        with os.fdopen(handle, "wb") as output, source.open("rb") as data:
            shutil.copyfileobj(data, output, CHUNK_BYTES)
            output.flush()
            os.fsync(output.fileno())
        part.chmod(0o440)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name itself must survive a power cut too
    finally:
        os.close(folder)


def _work_folder() -> Path:
    folder = Path(settings.DATA_DIR) / "work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _downloaded(stored: StoredFile) -> Iterator[Path]:
    """A private name for the cached download, so that trimming the cache takes nothing away."""
    cached = Path(settings.DATA_DIR) / "downloads" / stored.sha256
    with scratch_folder(_work_folder()) as folder:
        path = folder / stored.sha256
        try:
            os.link(cached, path)
            os.utime(path)  # used lately
            _verify(path, stored)
        except (FileNotFoundError, ChecksumError):
            path.unlink(missing_ok=True)
            _download(stored, path)
            _verify(path, stored)
            _keep(path, cached)
        yield path


def _download(stored: StoredFile, path: Path) -> None:
    try:
        with (
            _passing_troubles(),
            default_storage.open(stored.key, "rb") as data,
            path.open("wb") as output,
        ):
            shutil.copyfileobj(data, output, CHUNK_BYTES)
    except FileNotFoundError:
        raise _gone(stored) from None


def _keep(path: Path, cached: Path) -> None:
    """Put a verified download into the cache and trim the cache, longest unused first."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.unlink(missing_ok=True)
    with suppress(FileExistsError):  # another worker was faster with the same bytes
        os.link(path, cached)
    entries = sorted(
        ((entry.stat(), entry.path) for entry in os.scandir(cached.parent)),
        key=lambda item: item[0].st_mtime,
        reverse=True,
    )
    total = 0
    for status, name in entries:
        total += status.st_size
        if total > settings.DOWNLOAD_CACHE_BYTES:
            Path(name).unlink(missing_ok=True)


@contextmanager
def _passing_troubles() -> Iterator[None]:
    """Turn what an object store raises when it is down or overloaded into TransientError."""
    if _is_disk():
        yield
        return
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except BotoCoreError as error:
        msg = f"object store: {error}"
        raise TransientError(msg) from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        if status < 500 and status != 429:
            raise
        msg = f"object store: {error}"
        raise TransientError(msg) from error


def clear_scratch() -> int:
    """Remove what killed processes left in the temporary and the work folder."""
    return remove_abandoned() + remove_abandoned(_work_folder())


def remove_unreferenced(older_than: timedelta) -> int:
    """Delete rows nothing points at, and objects no row names; returns how many objects went."""
    from astrid_site.core import garbage

    return garbage.collect(older_than)
