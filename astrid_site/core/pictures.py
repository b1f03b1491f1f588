"""Stored pictures, as the browser shows them."""

from __future__ import annotations

from django.http import Http404, HttpResponse

from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import StoredFile
from astrid_site.core.storage import open_stored


def picture_response(stored: StoredFile) -> HttpResponse:
    """Answer with a PNG that the browser may keep: the bytes of a stored file never change.

    Raises
    ------
    Http404
        If its bytes are gone.
    """
    try:
        with open_stored(stored) as file:
            response = HttpResponse(file.read(), content_type="image/png")
    except ApplicationError as error:
        raise Http404(str(error)) from error
    response["Cache-Control"] = "private, max-age=86400, immutable"
    return response
