"""Find and remove stored bytes nobody refers to any more."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, OuterRef, ProtectedError, QuerySet
from django.utils import timezone

from astrid_site.core.models import StoredFile

logger = logging.getLogger(__name__)

ROOT = "sha256"


def collect(older_than: timedelta) -> int:
    """Remove unreferenced rows, then the objects without a row; returns the objects removed.

    Only what is older than ``older_than`` goes: a younger object may belong to a transaction
    that has not ended.
    """
    before = timezone.now() - older_than
    _remove_rows(before)
    removed = sum(_remove_object(key, before) for key in _all_objects())
    _remove_work_folders(before)
    return removed


def _unreferenced() -> QuerySet[StoredFile]:
    """Rows no foreign key of any app points at."""
    files = StoredFile.objects.all()
    for relation in StoredFile._meta.get_fields(include_hidden=True):
        if relation.auto_created and (relation.one_to_many or relation.one_to_one):
            column = relation.field.name  # type: ignore[union-attr]
            pointing = relation.related_model._base_manager.filter(  # type: ignore[union-attr]
                **{column: OuterRef("pk")}
            )
            files = files.exclude(Exists(pointing))
    return files


def _remove_rows(before: datetime) -> None:
    for stored in _unreferenced().filter(created_at__lt=before).iterator():
        try:
            with transaction.atomic():
                # Asked again under the write lock: the row may just have been touched or used.
                still = _unreferenced().filter(pk=stored.pk, created_at__lt=before)
                still.delete()
        except ProtectedError:
            logger.info("%s has just come into use", stored)


def _all_objects() -> Iterator[str]:
    for folder in _folders(ROOT):
        for name in default_storage.listdir(f"{ROOT}/{folder}")[1]:
            yield f"{ROOT}/{folder}/{name}"


def _folders(root: str) -> list[str]:
    try:
        return list(default_storage.listdir(root)[0])
    except FileNotFoundError:
        return []


def _remove_object(key: str, before: datetime) -> bool:
    """Delete one object if it is old and no row names it; half-written parts count as such."""
    try:
        if default_storage.get_modified_time(key) >= before:
            return False
    except FileNotFoundError:
        return False
    if StoredFile.objects.filter(sha256=key.rpartition("/")[2]).exists():
        return False
    default_storage.delete(key)
    return True


def _remove_work_folders(before: datetime) -> None:
    """Remove what killed processes left in the work folder."""
    work = Path(settings.DATA_DIR) / "work"
    if not work.is_dir():
        return
    for path in work.iterdir():
        if path.stat().st_mtime < before.timestamp():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
