"""Downloads of stored files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO
from uuid import UUID

from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import StoredFile
from astrid_site.core.storage import open_stored

#: Types a browser is told; whatever else was uploaded is only ever bytes.
SAFE_TYPES = frozenset({"application/fits", "image/fits", "image/png", "application/json"})
CHUNK_BYTES = 1 << 20


@login_required
@permission_required("core.view_storedfile", raise_exception=True)
@require_GET
def download(request: HttpRequest, file_id: UUID) -> StreamingHttpResponse:
    """Send a stored file as an attachment, never to be shown or guessed at by the browser."""
    stored = get_object_or_404(StoredFile, pk=file_id)
    try:
        file = open_stored(stored)
    except ApplicationError as error:
        raise Http404(str(error)) from error
    kind = stored.media_type if stored.media_type in SAFE_TYPES else "application/octet-stream"
    response = StreamingHttpResponse(FileStream(file), content_type=kind)
    response["Content-Length"] = str(stored.size)
    response["Content-Disposition"] = content_disposition_header(True, stored.name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


class FileStream:
    """A file piece by piece: a plain iterator would be read whole into memory under ASGI.

    The response closes it, also when nobody ever asks for the first piece.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces."""
        while piece := await asyncio.to_thread(self.file.read, CHUNK_BYTES):
            yield piece

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()
