"""The table of observations. The page of one needs the whole pipeline: see astrid_site.views."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from observations import pages, selectors
from observations.forms import ObservationFilterForm


@login_required
@permission_required("observations.view_observation", raise_exception=True)
@require_GET
def listing(request: HttpRequest) -> HttpResponse:
    """Observations that fit the filter; only the table for a page that is already open."""
    form = ObservationFilterForm(request.GET or None)
    filters = form.cleaned_data if form.is_bound and form.is_valid() else {}
    query = request.GET.copy()
    cursor = (query.pop("cursor", None) or [""])[-1]
    context: dict[str, Any] = {
        "section": "observations",
        "form": form,
        "bands": pages.bands(),
        "table": pages.observation_table(filters, cursor=cursor),
        "query": query.urlencode(),
        "is_filtered": any(filters.values()),
    }
    if filters.get("survey"):
        context["simulated_surveys"] = selectors.simulated_names(filters["survey"])
    is_part = request.headers.get("HX-Target") == "observations"
    template = "observations/partials/table.html" if is_part else "observations/list.html"
    return render(request, template, context)
