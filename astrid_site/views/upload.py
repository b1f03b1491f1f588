"""Handing in frames by the browser, with a table of what their headers do not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.decorators import login_required, permission_required
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from astrid_site import control
from astrid_site.accounts.models import User
from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ApplicationError
from observations import pages, services
from observations.forms import UploadForm
from observations.models import Survey
from observations.services import IngestResult
from observations.services.folders import Candidate

_EXAMPLE = Path(settings.BASE_DIR) / "static" / "examples" / "sidecar.csv"
Files = dict[str, UploadedFile[Any]]


@login_required
@permission_required("observations.add_observation", raise_exception=True)
@require_http_methods(["GET", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """Take frames in; every file gets its own answer, also when it is refused.

    The page's script first asks with the names alone which files are frames and what belongs to
    each, then sends one frame after the other; without a script all come at once.
    """
    context: dict[str, Any] = {
        "section": "observations",
        "surveys": pages.survey_names(),
        "max_mb": settings.MAX_UPLOAD_BYTES // 2**20,
        "form": UploadForm(),
        "columns": services.COLUMNS,
        "example": _EXAMPLE.read_text(),
    }
    if request.method == "GET":
        return render(request, "observations/upload.html", context)
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _refuse(request, form, context)
    sent: Files = {services.last_part(str(file.name)): file for file in form.cleaned_data["frames"]}
    try:
        candidates = _arrange(form.cleaned_data)
    except ApplicationError as error:
        form.add_error("sidecar" if form.cleaned_data["sidecar"] else "frames", f"{error}.")
        return _refuse(request, form, context)
    results = _take_in_all(
        candidates, sent, survey_name=form.cleaned_data["survey"], user=signed_in(request)
    )
    if request.headers.get("Accept", "").startswith("application/json"):
        names = form.cleaned_data["names"]
        return JsonResponse({"results": results, "plan": _plan(candidates), "names": names})
    return render(request, "observations/upload.html", context | {"results": results, "form": form})


def _refuse(request: HttpRequest, form: UploadForm, context: dict[str, Any]) -> HttpResponse:
    """Say what is wrong; to the page's script with 200, as browsers log each 4xx as an error."""
    if request.headers.get("Accept", "").startswith("application/json"):
        said = " ".join(str(e) for errors in form.errors.values() for e in errors)
        is_page = request.headers.get("X-Requested-With") == "upload.js"
        return JsonResponse({"error": said}, status=200 if is_page else 422)
    return render(request, "observations/upload.html", context | {"form": form}, status=422)


def _arrange(said: dict[str, Any]) -> list[Candidate]:
    """What the files are, by the rules of a folder that is taken in."""
    names = said["names"] or [services.last_part(str(file.name)) for file in said["frames"]]
    table = said["sidecar"]
    if not table:
        return services.arrange(names)
    called = services.last_part(str(table.name))
    return services.arrange(names, sidecar=_path(table), sidecar_name=called)


def _plan(candidates: list[Candidate]) -> list[dict[str, Any]]:
    """What is to be sent together: each frame with the planes that its row names."""
    return [
        {
            "file": candidate.path.name,
            "with": [path.name for path in candidate.overrides.companions.values()],
        }
        for candidate in candidates
        if not candidate.companion_of
    ]


def _take_in_all(
    candidates: list[Candidate], sent: Files, *, survey_name: str, user: User
) -> list[dict[str, str]]:
    results: list[dict[str, str]] = []
    survey = services.get_or_create_survey(survey_name) if sent else None
    for candidate in candidates:
        name = candidate.path.name
        if candidate.companion_of and (not sent or name in sent):
            results.append(_answer(services.held_back(candidate)))
        elif survey is not None and name in sent:
            results.append(_answer(_take_in(candidate, sent, survey=survey, user=user)))
    return results


def _take_in(candidate: Candidate, sent: Files, *, survey: Survey, user: User) -> IngestResult:
    """Hand one file over, with its companions."""
    name = candidate.path.name
    named = {what: path.name for what, path in candidate.overrides.companions.items()}
    for file in (name, *named.values()):
        if file not in sent:
            reason = f"{name}: {file} was not sent with it"
            return IngestResult(None, "refused", reason, "bad_override", name)
        if (sent[file].size or 0) > settings.MAX_UPLOAD_BYTES:
            reason = f"{file}: larger than the {settings.MAX_UPLOAD_BYTES // 2**20} MB allowed here"
            return IngestResult(None, "refused", reason, "file_too_large", name)
    result = services.ingest_file(
        _path(sent[name]),
        survey=survey,
        file_name=name,
        overrides=candidate.overrides.values,
        companions={what: _path(sent[file]) for what, file in named.items()},
        companion_names=named,
        submitted_by=user,
    )
    if result.outcome == "created" and result.observation is not None:
        with transaction.atomic():
            control.start(result.observation)
    return result


def _path(file: UploadedFile[Any]) -> Path:
    return Path(cast(TemporaryUploadedFile, file).temporary_file_path())


def _answer(result: IngestResult) -> dict[str, str]:
    observation = result.observation
    return {
        "file_name": result.file_name,
        "outcome": result.outcome,
        "code": result.code,
        "reason": result.reason,
        "url": reverse("observations:detail", args=[observation.pk]) if observation else "",
    }
