"""The table of objects. The page of one object needs curation too: see astrid_site.views."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from catalog import pages
from catalog.forms import ObjectSearchForm
from observations.selectors import simulated_names


@login_required
@permission_required("catalog.view_astroobject", raise_exception=True)
@require_GET
def listing(request: HttpRequest) -> HttpResponse:
    """Objects that fit the search."""
    form = ObjectSearchForm(request.GET or None)
    is_valid = not form.is_bound or form.is_valid()
    filters = form.cleaned_data if form.is_bound and is_valid else {}
    table = pages.object_table(filters, cursor=request.GET.get("cursor", "")) if is_valid else None
    query = request.GET.copy()
    query.pop("cursor", None)
    context = {
        "section": "objects",
        "form": form,
        "table": table,
        "query": query.urlencode(),
        "is_filtered": any(value not in (None, "") for value in filters.values()),
    }
    if filters.get("survey"):
        context["simulated_surveys"] = simulated_names(filters["survey"])
    is_part = request.headers.get("HX-Target") == "objects"
    template = "catalog/partials/table.html" if is_part else "catalog/list.html"
    return render(request, template, context)
