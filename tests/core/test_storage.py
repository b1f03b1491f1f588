"""Stored bytes: kept once, whole or absent, checked on use, and collected when nobody asks."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage, storages
from django.utils import timezone

from astrid_site.core import storage
from astrid_site.core.errors import TransientError
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.storage import ChecksumError
from observations.models import Observation, Survey

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)


@pytest.fixture
def disk(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path / "objects"},
        },
    }
    return tmp_path / "objects"


@pytest.fixture
def bucket(settings: Any, tmp_path: Path, s3_endpoint: str) -> Iterator[str]:
    import boto3

    name = f"astrid-{uuid.uuid4().hex[:8]}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket=name)
    settings.DATA_DIR = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {
                "bucket_name": name,
                "endpoint_url": s3_endpoint,
                "access_key": "test",
                "secret_key": "test",
                "region_name": "us-east-1",
                "addressing_style": "path",
                "file_overwrite": True,
            },
        },
    }
    yield name
    client.close()


@pytest.fixture(params=["disk", "bucket"])
def store(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue(request.param)
    return str(request.param)


def put(data: bytes, name: str = "frame.fits") -> StoredFile:
    return storage.put_bytes(data, kind=FileKind.RAW, name=name, media_type="image/fits")


def age(stored: StoredFile) -> None:
    """Make a row old."""
    StoredFile.objects.filter(pk=stored.pk).update(created_at=timezone.now() - 3 * DAY)


def observe(stored: StoredFile) -> None:
    """Refer to a stored file."""
    survey = Survey.objects.create(name="S", slug="s")
    Observation.objects.create(
        survey=survey, observation_id="1", raw_file=stored, image_width=1, image_height=1
    )


def test_bytes_come_back_as_they_were_put(store: str) -> None:
    data = os.urandom(100_000)
    stored = put(data)
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert stored.size == len(data)
    with storage.local_copy(stored) as path:
        assert path.read_bytes() == data
    with storage.local_copy(stored) as path:
        assert path.read_bytes() == data
    with storage.open_stored(stored) as file:
        assert file.read() == data


def test_the_same_bytes_are_kept_once_whatever_their_name(store: str) -> None:
    first, second = put(b"same", "a.fits"), put(b"same", "b.fits")
    assert first.pk == second.pk
    assert StoredFile.objects.count() == 1
    assert put(b"other", "a.fits").pk != first.pk


def test_altered_bytes_are_noticed_on_use(disk: Path) -> None:
    stored = put(b"0123456789")
    path = disk / stored.key
    path.chmod(0o600)
    path.write_bytes(b"0123456780")
    with pytest.raises(ChecksumError, match="checksum"), storage.local_copy(stored):
        pass


def test_missing_bytes_are_noticed_and_come_back_when_put_again(store: str) -> None:
    stored = put(b"gone tomorrow")
    default_storage.delete(stored.key)
    with pytest.raises(ChecksumError, match="gone"), storage.local_copy(stored):
        pass
    again = put(b"gone tomorrow")
    assert again.pk == stored.pk
    with storage.local_copy(again) as path:
        assert path.read_bytes() == b"gone tomorrow"


def test_a_full_disk_leaves_neither_row_nor_half_an_object(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        put(b"x" * 1000)
    assert StoredFile.objects.count() == 0
    assert [path for path in disk.rglob("*") if path.is_file()] == []


def test_an_object_store_that_is_away_is_a_passing_trouble(bucket: str, settings: Any) -> None:
    from botocore.config import Config

    options = dict(settings.STORAGES["default"]["OPTIONS"])
    options |= {
        "endpoint_url": "http://127.0.0.1:9",
        "client_config": Config(connect_timeout=1, retries={"max_attempts": 0}),
    }
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {**settings.STORAGES["default"], "OPTIONS": options},
    }
    with pytest.raises(TransientError, match="object store"):
        put(b"nobody takes this")


def test_the_cache_of_downloads_stays_within_its_size(bucket: str, settings: Any) -> None:
    settings.DOWNLOAD_CACHE_BYTES = 2500
    for number in range(5):
        with storage.local_copy(put(bytes([number]) * 1000)) as path:
            assert path.stat().st_size == 1000
    cached = list((Path(settings.DATA_DIR) / "downloads").iterdir())
    assert 1 <= len(cached) <= 2
    assert list((Path(settings.DATA_DIR) / "work").iterdir()) == []


def test_what_nobody_refers_to_is_collected_when_it_is_old(store: str) -> None:
    used, unused, young = put(b"used"), put(b"unused"), put(b"young")
    observe(used)
    age(used)
    age(unused)
    assert storage.remove_unreferenced(DAY) == 0
    assert set(StoredFile.objects.values_list("pk", flat=True)) == {used.pk, young.pk}
    # The row went by its age; the object was written a moment ago and goes by its own.
    assert default_storage.exists(unused.key)
    assert storage.remove_unreferenced(timedelta(seconds=-5)) == 2
    assert set(StoredFile.objects.values_list("pk", flat=True)) == {used.pk}
    with storage.local_copy(used) as path:
        assert path.read_bytes() == b"used"


def test_an_object_whose_row_was_never_committed_is_collected(disk: Path) -> None:
    stored = put(b"no row")
    StoredFile.objects.all().delete()
    part = (disk / stored.key).with_suffix(".part")
    part.write_bytes(b"half")
    assert storage.remove_unreferenced(timedelta(seconds=-5)) == 2
    assert not (disk / stored.key).exists()
    assert not part.exists()


def test_bytes_put_again_are_young_again_and_stay(disk: Path) -> None:
    stored = put(b"again")
    age(stored)
    put(b"again")
    assert storage.remove_unreferenced(DAY) == 0
    assert StoredFile.objects.filter(pk=stored.pk).exists()


def test_a_part_is_read_without_the_rest(store: str) -> None:
    stored = put(bytes(range(256)) * 4)
    assert storage.read_range(stored, start=250, length=8) == bytes([*range(250, 256), 0, 1])
    assert storage.read_range(stored, start=1020, length=50) == bytes(range(252, 256))
    missing = StoredFile(sha256="f" * 64, name="gone")
    with pytest.raises(ChecksumError, match="gone"):
        storage.read_range(missing, start=0, length=1)


def test_the_store_is_the_one_of_the_settings(store: str) -> None:
    kind = type(storages["default"]).__name__
    assert kind == {"disk": "FileSystemStorage", "bucket": "S3Storage"}[store]
