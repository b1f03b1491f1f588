"""Handing in frames, and the page of one observation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from astrid_site import control
from astrid_site.accounts.models import User
from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ApplicationError
from astrid_site.pages import observation as page
from astrid_site.pages import pictures
from astrid_site.redrawing import redraw_job
from detection.pages import STRETCHES
from observations import pages as observation_pages
from observations import services
from observations.forms import UploadForm
from observations.models import Observation, Survey

#: What of the page is sent alone to a page that is already open, by the element it goes to.
_PARTS = {
    "stages": "observations/partials/stages.html",
    "images": "observations/partials/images.html",
    "pictures": "observations/partials/pictures.html",
}
PANELS = ("science", "template", "difference", "score")


def _observation(observation_id: UUID) -> Observation:
    rows = Observation.objects.select_related("survey", "raw_file", "submitted_by")
    return get_object_or_404(rows, pk=observation_id)


def _stretch(request: HttpRequest) -> str:
    asked = request.GET.get("stretch", "")
    return asked if asked in STRETCHES else STRETCHES[0]


@login_required
@permission_required("observations.add_observation", raise_exception=True)
@require_http_methods(["GET", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """Take frames in; every file gets its own answer, also when it is refused."""
    context: dict[str, Any] = {
        "section": "observations",
        "surveys": observation_pages.survey_names(),
        "max_mb": settings.MAX_UPLOAD_BYTES // 2**20,
        "form": UploadForm(),
    }
    if request.method == "GET":
        return render(request, "observations/upload.html", context)
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _bad_upload(request, form, context)
    user = signed_in(request)
    survey = services.get_or_create_survey(form.cleaned_data["survey"])
    results = [_take_in(file, survey=survey, user=user) for file in form.cleaned_data["frames"]]
    if _wants_json(request):
        return JsonResponse({"results": results})
    return render(request, "observations/upload.html", context | {"results": results, "form": form})


def _bad_upload(request: HttpRequest, form: UploadForm, context: dict[str, Any]) -> HttpResponse:
    if _wants_json(request):
        said = " ".join(str(e) for errors in form.errors.values() for e in errors)
        return JsonResponse({"error": said}, status=422)
    return render(request, "observations/upload.html", context | {"form": form}, status=422)


def _take_in(file: UploadedFile[Any], *, survey: Survey, user: User) -> dict[str, str]:
    """Hand one file over and say what became of it."""
    name = str(file.name)
    if (file.size or 0) > settings.MAX_UPLOAD_BYTES:
        reason = f"larger than the {settings.MAX_UPLOAD_BYTES // 2**20} MB allowed here"
        return _answer(name, "refused", code="file_too_large", reason=reason)
    path = Path(cast(TemporaryUploadedFile, file).temporary_file_path())
    result = services.ingest_file(path, survey=survey, file_name=name, submitted_by=user)
    if result.outcome == "created" and result.observation is not None:
        with transaction.atomic():
            control.start(result.observation)
    return _answer(
        name,
        result.outcome,
        code=result.code,
        reason=result.reason,
        url=reverse("observations:detail", args=[result.observation.pk])
        if result.observation
        else "",
    )


def _answer(name: str, outcome: str, *, code: str, reason: str, url: str = "") -> dict[str, str]:
    return {"file_name": name, "outcome": outcome, "code": code, "reason": reason, "url": url}


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


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
