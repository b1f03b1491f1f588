"""Pictures of candidates."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from astrid_site.core.errors import ApplicationError
from detection import pages, selectors
from detection.models import Detection

#: The address names the content, so it never changes.
_FOR_EVER = "private, max-age=31536000, immutable"


@login_required
@permission_required("detection.view_detection", raise_exception=True)
@require_GET
def cutout(request: HttpRequest, detection_id: UUID, panel: str) -> HttpResponse:
    """One panel, or the strip of all four. The pixels of a candidate never change."""
    detection = get_object_or_404(Detection.objects.select_related("run"), pk=detection_id)
    try:
        png = pages.cutout_png(
            detection,
            panel=panel,
            stretch=request.GET.get("stretch", "zscale"),
            is_inverted=request.GET.get("invert") == "1",
        )
    except ApplicationError as error:
        raise Http404(str(error)) from error
    response = HttpResponse(png, content_type="image/png")
    response["Cache-Control"] = "private, max-age=86400, immutable"
    return response


@login_required
@permission_required("detection.view_detection", raise_exception=True)
@require_GET
def pixels(request: HttpRequest, detection_id: UUID, digest: str) -> HttpResponse:
    """The numbers around a candidate; kept for ever where the address names this very content."""
    rows = selectors.with_pixels(Detection.objects.all())
    detection = get_object_or_404(rows, pk=detection_id)
    try:
        packet = selectors.pixel_packet(detection)
    except ApplicationError as error:
        raise Http404(str(error)) from error
    response = HttpResponse(
        packet, content_type="application/octet-stream", headers={"Content-Encoding": "gzip"}
    )
    # drawn anew since the page was made: right for the candidate, but not under this address
    is_named = digest == selectors.pixel_digest(detection)
    response["Cache-Control"] = _FOR_EVER if is_named else "private, no-store"
    return response
