"""The table of observations, the page of one, and what people do on it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from astrid_site import control
from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ApplicationError
from astrid_site.pages import observation as page
from astrid_site.pages import pictures
from astrid_site.pages.observation_table import observation_rows
from astrid_site.redrawing import redraw_job
from detection.pages import STRETCHES
from observations.forms import ObservationFilterForm
from observations.models import Observation
from observations.pages import bands, observation_table
from observations.selectors import simulated_names

#: What of the page is sent alone to a page that is already open, by the element it goes to.
_PARTS = {
    "stages": "observations/partials/stages.html",
    "images": "observations/partials/images.html",
    "pictures": "observations/partials/pictures.html",
}
PANELS = ("science", "template", "difference", "score")


@login_required
@permission_required("observations.view_observation", raise_exception=True)
@require_GET
def listing(request: HttpRequest) -> HttpResponse:
    """Observations that fit the filter; only the table for a page that is already open."""
    form = ObservationFilterForm(request.GET or None)
    filters = form.cleaned_data if form.is_bound and form.is_valid() else {}
    query = request.GET.copy()
    cursor = (query.pop("cursor", None) or [""])[-1]
    table = observation_table(filters, cursor=cursor)
    context: dict[str, Any] = {
        "section": "observations",
        "form": form,
        "bands": bands(),
        "table": table,
        "rows": observation_rows(table.rows),
        "query": query.urlencode(),
        "is_filtered": any(filters.values()),
    }
    if filters.get("survey"):
        context["simulated_surveys"] = simulated_names(filters["survey"])
    is_part = request.headers.get("HX-Target") == "observations"
    template = "observations/partials/table.html" if is_part else "observations/list.html"
    return render(request, template, context)


def _observation(observation_id: UUID) -> Observation:
    rows = Observation.objects.select_related("survey", "raw_file", "submitted_by")
    return get_object_or_404(rows, pk=observation_id)


def _stretch(request: HttpRequest) -> str:
    asked = request.GET.get("stretch", "")
    return asked if asked in STRETCHES else STRETCHES[0]


@login_required
@permission_required("observations.view_observation", raise_exception=True)
@require_GET
def detail(request: HttpRequest, observation_id: UUID) -> HttpResponse:
    """One observation: pictures, stages, candidates, header."""
    shown = page.observation_page(
        _observation(observation_id), show_all=request.GET.get("candidates") == "all"
    )
    context = {
        "section": "observations",
        "page": shown,
        "observation": shown.observation,
        "stretch": _stretch(request),
        "stretches": STRETCHES,
        "simulated_surveys": [shown.observation.survey.name]
        if shown.observation.is_simulated
        else [],
        "show_all": request.GET.get("candidates") == "all",
        "redraw": redraw_job(shown.observation),
    }
    part = _PARTS.get(request.headers.get("HX-Target", ""))
    return render(request, part or "observations/detail.html", context)


@login_required
@permission_required("observations.view_observation", raise_exception=True)
@require_GET
def image(request: HttpRequest, observation_id: UUID, panel: str) -> HttpResponse:
    """One whole image of an observation as PNG."""
    found = page.drawn_panel(_observation(observation_id), panel) if panel in PANELS else None
    if found is None:
        msg = f"This observation has no {panel} image yet."
        raise Http404(msg)
    tag = f'"{found.sha256}-{panel}-{_stretch(request)}"'
    if request.headers.get("If-None-Match") == tag:
        response = HttpResponse(status=304)
    else:
        png = pictures.overview_png(found, panel=panel, stretch=_stretch(request))
        response = HttpResponse(png, content_type="image/png")
    response["ETag"] = tag
    # a retry may replace the image: ask each time, send it only if it changed
    response["Cache-Control"] = "private, no-cache"
    return response


@login_required
@permission_required("observations.change_observation", raise_exception=True)
@require_POST
def retry(request: HttpRequest, observation_id: UUID) -> HttpResponse:
    """Run the stage at which an observation ended once more."""
    observation = _observation(observation_id)
    try:
        control.retry(observation, signed_in(request))
    except ApplicationError as error:
        messages.error(request, f"Not retried: {error}.")
    else:
        messages.success(request, f"{observation.observation_id} is in the queue again.")
    return redirect("observations:detail", observation.pk)


@login_required
@permission_required("observations.change_observation", raise_exception=True)
@require_POST
def cancel(request: HttpRequest, observation_id: UUID) -> HttpResponse:
    """Stop all work on an observation."""
    observation = _observation(observation_id)
    n_ended = control.cancel(observation, signed_in(request))
    if n_ended:
        messages.success(request, "Cancelled. What was already stored stays.")
    else:
        messages.info(request, "There was no work to cancel.")
    return redirect("observations:detail", observation.pk)
