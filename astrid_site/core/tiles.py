"""Reading the tiles that workers made of an image, wherever they are stored."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from astrid_site.core.models import StoredFile
from astrid_site.core.storage import read_range
from astrid_site.imaging.pyramid import Views

#: Indexes kept in memory by each server process; one is some ten kilobytes.
KEPT = 64


def open_views(stored: StoredFile) -> Views:
    """A stage's file; its index is read once by each process."""
    return _open_views(stored.sha256, stored.pk)


@lru_cache(maxsize=KEPT)
def _open_views(sha256: str, key: UUID) -> Views:
    # the content hash is all that is needed to read: no row is kept
    stored = StoredFile(pk=key, sha256=sha256, name=sha256[:10])
    return Views(lambda start, length: read_range(stored, start=start, length=length))
