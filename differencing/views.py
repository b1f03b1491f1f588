"""The page of one reference, and its pictures."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from astrid_site.core.pictures import picture_response
from differencing import pages
from differencing.models import ReferenceImage


def _reference(reference_id: UUID) -> ReferenceImage:
    rows = ReferenceImage.objects.select_related(
        "survey", "file", "preview_file", "coverage_file", "coverage_preview_file", "former"
    )
    return get_object_or_404(rows, pk=reference_id)


@login_required
@permission_required("differencing.view_referenceimage", raise_exception=True)
@require_GET
def reference(request: HttpRequest, reference_id: UUID) -> HttpResponse:
    """One reference: its epochs, its coverage, the versions of its field."""
    page = pages.reference_page(_reference(reference_id))
    survey = page.reference.survey
    context = {
        "section": "observations",
        "page": page,
        "reference": page.reference,
        "simulated_surveys": [survey.name] if survey.is_simulated else [],
    }
    return render(request, "differencing/reference.html", context)


@login_required
@permission_required("differencing.view_referenceimage", raise_exception=True)
@require_GET
def picture(request: HttpRequest, reference_id: UUID, name: str) -> HttpResponse:
    """The reference, or the number of epochs in each of its pixels, as PNG."""
    row = _reference(reference_id)
    pictures = {"image": row.preview_file, "coverage": row.coverage_preview_file}
    stored = pictures.get(name)
    if stored is None:
        msg = "there is no such picture"
        raise Http404(msg)
    return picture_response(stored)
