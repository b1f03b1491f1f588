"""The full-frame viewer, and the tiles and pictures that workers made for it."""

from __future__ import annotations

import re
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from astrid_site.core.errors import ApplicationError
from astrid_site.imaging.pyramid import ViewError, Views
from astrid_site.pages import view_files
from astrid_site.pages import viewer as page
from astrid_site.redrawing import redraw_job, request_redraw
from observations.models import Observation

_TILE = re.compile(r"([a-z-]+)/(\d{1,2})/(\d{1,4})/(\d{1,4})")
_PICTURE = re.compile(r"([a-z-]+)\.png")
#: The address names the content, so it never changes.
_FOR_EVER = "private, max-age=31536000, immutable"


def _observation(observation_id: UUID) -> Observation:
    return get_object_or_404(Observation.objects.select_related("survey"), pk=observation_id)


@login_required
@permission_required("observations.view_observation", raise_exception=True)
@require_GET
def viewer(request: HttpRequest, observation_id: UUID) -> HttpResponse:
    """The frame to move about in; without tiles, what can be done about it."""
    observation = _observation(observation_id)
    context = {
        "section": "observations",
        "observation": observation,
        "viewer": page.viewer_page(
            observation, may_vet=request.user.has_perm("curation.add_verdict")
        ),
        "has_images": view_files.has_images(observation),
        "redraw": redraw_job(observation),
        "simulated_surveys": [observation.survey.name] if observation.is_simulated else [],
    }
    return render(request, "observations/viewer.html", context)


@login_required
@permission_required("observations.view_observation", raise_exception=True)
@require_GET
def view(
    request: HttpRequest, observation_id: UUID, stage: str, sha256: str, part: str
) -> HttpResponse:
    """One tile or picture of an observation's stage."""
    stored = view_files.stored_views(_observation(observation_id)).get(stage)
    if stored is None or stored.sha256 != sha256:
        msg = "This observation has no such pictures (any more)."
        raise Http404(msg)
    try:
        response = _part(view_files.open_views(stored), part)
    except (ViewError, ApplicationError) as error:
        raise Http404(str(error)) from error
    response["Cache-Control"] = _FOR_EVER
    return response


def _part(views: Views, part: str) -> HttpResponse:
    if found := _TILE.fullmatch(part):
        level, row, column = (int(number) for number in found.groups()[1:])
        tile = views.tile(found[1], level, row=row, column=column)
        # kept packed: every browser unpacks gzip, and no page is for anything else
        return HttpResponse(
            tile, content_type="application/octet-stream", headers={"Content-Encoding": "gzip"}
        )
    if found := _PICTURE.fullmatch(part):
        return HttpResponse(views.picture(found[1]), content_type="image/png")
    msg = f"there is no part {part!r}"
    raise ViewError(msg)


@login_required
@permission_required("observations.change_observation", raise_exception=True)
@require_POST
def redraw(request: HttpRequest, observation_id: UUID) -> HttpResponse:
    """Have the pictures of an observation made anew."""
    observation = _observation(observation_id)
    if view_files.has_images(observation):
        with transaction.atomic():
            request_redraw(observation)
        messages.success(request, "Its pictures are being made; this takes some seconds.")
    else:
        messages.error(request, "Not drawn: no calibrated frame is kept of this observation.")
    return redirect("observations:detail", observation.pk)
