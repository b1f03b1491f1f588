"""The page of one object and its pictures."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from astrid_site.core.keyset import keyset_page
from astrid_site.pages import astro_object as page
from astrid_site.pages.finder_sheet import DEFAULT_SIZE_ARCSEC, finder_pdf
from catalog.forms import StatementForm
from catalog.models import AstroObject
from catalog.selectors import statements_of
from catalog.selectors.context import context_of_object
from curation.selectors import confirmed_without_place
from detection.pages import STRETCHES

#: Widths that a printed chart may have [arcsec].
SHEET_SIZES = ("60", "120", "180", "300", "600")


def _stretch(request: HttpRequest) -> str:
    asked = request.GET.get("stretch", "")
    return asked if asked in STRETCHES else STRETCHES[0]


@login_required
@permission_required("catalog.view_astroobject", raise_exception=True)
@require_GET
def detail(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """Everything known of one object."""
    shown = page.astro_object_page(
        get_object_or_404(AstroObject, pk=object_id),
        all_epochs=request.GET.get("epochs") == "all",
    )
    context = {
        "section": "objects",
        "page": shown,
        "object": shown.astro_object,
        "known": context_of_object(shown.astro_object),
        "simulated_surveys": shown.surveys if shown.astro_object.is_simulated else [],
        "stretch": _stretch(request),
        "stretches": STRETCHES,
        "statements": statements_of(shown.astro_object),
        "statement_form": StatementForm(),
    }
    return render(request, "catalog/detail.html", context)


@login_required
@permission_required("catalog.view_astroobject", raise_exception=True)
@require_GET
def finder(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """Pixels of the finder chart."""
    png = page.finder_png(get_object_or_404(AstroObject, pk=object_id), stretch=_stretch(request))
    return _picture(png)


@login_required
@permission_required("catalog.view_astroobject", raise_exception=True)
@require_GET
def finder_sheet(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """The finder chart as one page to print; ``size`` is its width [arcsec]."""
    owner = get_object_or_404(AstroObject, pk=object_id)
    asked = request.GET.get("size", "")
    size = float(asked) if asked in SHEET_SIZES else DEFAULT_SIZE_ARCSEC
    pdf = finder_pdf(owner, size_arcsec=size)
    if pdf is None:
        msg = "No image of this place is kept."
        raise Http404(msg)
    response = HttpResponse(pdf, content_type="application/pdf")
    name = f"{owner.name} finder chart.pdf"
    response["Content-Disposition"] = content_disposition_header(False, name) or "inline"
    return response


@login_required
@permission_required("catalog.view_astroobject", raise_exception=True)
@require_GET
def epoch(request: HttpRequest, object_id: UUID, run_id: UUID) -> HttpResponse:
    """The object's place in one night's images, detected there or not."""
    owner = get_object_or_404(AstroObject, pk=object_id)
    return _picture(page.epoch_png(owner, run_id, stretch=_stretch(request)))


@login_required
@permission_required("curation.view_verdict", raise_exception=True)
@require_GET
def without_place(request: HttpRequest) -> HttpResponse:
    """Candidates confirmed by people that no object stands for."""
    table = keyset_page(
        confirmed_without_place(), field="created_at", cursor=request.GET.get("cursor", "")
    )
    context = {"section": "objects", "table": table}
    return render(request, "catalog/without_place.html", context)


def _picture(png: bytes | None) -> HttpResponse:
    if png is None:
        msg = "No image of this place is kept."
        raise Http404(msg)
    response = HttpResponse(png, content_type="image/png")
    response["Cache-Control"] = "private, max-age=300"
    return response
