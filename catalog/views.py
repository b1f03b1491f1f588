"""The table of objects and its searches. The page of one needs curation too: astrid_site.views."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ConflictError
from astrid_site.core.status import TERMINAL_JOBS
from catalog import pages, selectors, services
from catalog.algorithms.object_search import ObjectSearch
from catalog.forms import (
    ForcedForm,
    ObjectSearchForm,
    SaveSearchForm,
    StatementForm,
    WatchedForm,
    page_parameters,
)
from catalog.models import AstroObject, ForcedRequest, ObjectStatement, SavedSearch
from catalog.services.forced_requests import job_of_request
from observations.selectors import simulated_names


@login_required
@permission_required("catalog.view_astroobject", raise_exception=True)
@require_GET
def listing(request: HttpRequest) -> HttpResponse:
    """Objects that fit the search."""
    form = ObjectSearchForm(request.GET or None)
    is_valid = not form.is_bound or form.is_valid()
    filters = form.cleaned_data if form.is_bound and is_valid else {}
    search = filters.get("search") or ObjectSearch()
    table = pages.object_table(search, cursor=request.GET.get("cursor", "")) if is_valid else None
    query = request.GET.copy()
    query.pop("cursor", None)
    context = {
        "section": "objects",
        "form": form,
        "table": table,
        "query": query.urlencode(),
        "exports": pages.export_links(search) if is_valid else [],
        "is_filtered": search != ObjectSearch(),
    }
    if filters.get("survey"):
        context["simulated_surveys"] = simulated_names(filters["survey"])
    if request.headers.get("HX-Target") == "objects":
        return render(request, "catalog/partials/table.html", context)
    saved = selectors.saved_searches(signed_in(request).pk)
    context["saved"] = [(row, urlencode(page_parameters(row.parameters))) for row in saved]
    return render(request, "catalog/list.html", context)


@login_required
@permission_required("catalog.view_astroobject", raise_exception=True)
@require_GET
def watched(request: HttpRequest) -> HttpResponse:
    """Were we watching? Frames that covered a place, with their depth."""
    form = WatchedForm(request.GET or None)
    page = None
    if form.is_bound and form.is_valid():
        told = form.cleaned_data
        page = pages.coverage_page(
            told["ra"] % 360.0,
            told["dec"],
            since=told["since"],
            until=told["until"],
            survey=told["survey"],
            band=told["band"],
        )
    context = {"section": "objects", "form": form, "page": page}
    return render(request, "catalog/watched.html", context)


@login_required
@permission_required("catalog.view_forcedrequest", raise_exception=True)
@require_http_methods(["GET", "HEAD", "POST"])
def forced(request: HttpRequest) -> HttpResponse:
    """Places of one's own to be measured on every frame, and what was asked before."""
    may_ask = request.user.has_perm("catalog.add_forcedrequest")
    form = ForcedForm(request.POST or None)
    if request.method == "POST":
        if not may_ask:
            raise PermissionDenied
        if form.is_valid():
            row = services.request_forced(signed_in(request), **form.cleaned_data)
            return redirect("catalog:forced_detail", request_id=row.pk)
    rows = ForcedRequest.objects.defer("points").select_related("owner", "survey")
    shown = [(row, job_of_request(row)) for row in rows.order_by("-created_at", "id")[:50]]
    context = {"section": "objects", "form": form, "may_ask": may_ask, "rows": shown}
    return render(request, "catalog/forced.html", context)


@login_required
@permission_required("catalog.view_forcedrequest", raise_exception=True)
@require_GET
def forced_detail(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """What was measured at the places of one request, or how far it is."""
    row = get_object_or_404(ForcedRequest.objects.select_related("owner", "survey"), pk=request_id)
    job = job_of_request(row)
    is_over = job is None or job.state in TERMINAL_JOBS
    context = {
        "section": "objects",
        "row": row,
        "job": job,
        "is_over": is_over,
        "places": pages.forced_places(row) if is_over else [],
        "exports": pages.forced_export_links(row) if is_over and row.points else [],
    }
    is_part = request.headers.get("HX-Target") == "forced"
    name = "catalog/partials/forced.html" if is_part else "catalog/forced_detail.html"
    return render(request, name, context)


@login_required
@permission_required("catalog.add_savedsearch", raise_exception=True)
@require_POST
def save_search(request: HttpRequest) -> HttpResponse:
    """Keep the search in the address under a name."""
    asked, named = ObjectSearchForm(request.GET), SaveSearchForm(request.POST)
    if not (asked.is_valid() and named.is_valid()):
        messages.error(request, "Not saved: a search needs a name and conditions that fit.")
        return redirect(f"{reverse('catalog:list')}?{request.GET.urlencode()}")
    row = services.save_search(
        signed_in(request),
        asked.cleaned_data["search"],
        name=named.cleaned_data["name"],
        is_public=named.cleaned_data["is_public"],
    )
    messages.success(request, f"Saved as “{row.name}”.")
    return redirect(_address(row))


@login_required
@permission_required("catalog.add_savedsearch", raise_exception=True)
@require_POST
def forget_search(request: HttpRequest, search_id: UUID) -> HttpResponse:
    """Remove one of one's own searches."""
    if not services.forget_search(signed_in(request), search_id):
        msg = "You have no such search."
        raise Http404(msg)
    messages.success(request, "Removed.")
    return redirect("catalog:list")


def _address(row: SavedSearch) -> str:
    return f"{reverse('catalog:list')}?{urlencode(page_parameters(row.parameters))}"


@login_required
@permission_required("catalog.add_objectstatement", raise_exception=True)
@require_POST
def state(request: HttpRequest, object_id: UUID) -> HttpResponse:
    """Write down what a person knows of an object."""
    owner = get_object_or_404(AstroObject, pk=object_id)
    form = StatementForm(request.POST)
    if form.is_valid():
        services.state(owner, signed_in(request), **form.cleaned_data)
        messages.success(request, "Written down.")
    else:
        told = "; ".join(f"{form[name].label}: {e[0]}" for name, e in form.errors.items())
        messages.error(request, f"Not written: {told}")
    return redirect("catalog:detail", object_id=owner.pk)


@login_required
@permission_required("catalog.add_objectstatement", raise_exception=True)
@require_POST
def withdraw(request: HttpRequest, object_id: UUID, statement_id: UUID) -> HttpResponse:
    """Take a statement back."""
    rows = ObjectStatement.objects.filter(astro_object=object_id)
    try:
        services.withdraw(get_object_or_404(rows, pk=statement_id), signed_in(request))
    except ConflictError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "Taken back.")
    return redirect("catalog:detail", object_id=object_id)
