"""Downloads of stored files."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from astrid_site.core.errors import ApplicationError
from astrid_site.core.file_stream import FileStream
from astrid_site.core.models import StoredFile
from astrid_site.core.storage import open_stored

#: Types a browser is told; whatever else was uploaded is only ever bytes.
SAFE_TYPES = frozenset({"application/fits", "image/fits", "image/png", "application/json"})


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
