"""Putting a candidate off, and having it back."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ApplicationError
from curation import services
from curation.forms import NamedForm, SnoozeForm
from curation.pages.vetting import find_detection
from curation.views.vetting import answer_to, refuse


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def snooze(request: HttpRequest) -> HttpResponse:
    """Show me this object again when something has happened."""
    form = SnoozeForm(request.POST)
    if not form.is_valid():
        return refuse(request, " ".join(str(e) for errors in form.errors.values() for e in errors))
    said = form.cleaned_data
    detection = find_detection(said["detection"])
    if detection is None:
        return refuse(request, "There is no such candidate.", status=404)
    try:
        services.snooze(
            detection,
            signed_in(request),
            condition=said["condition"],
            magnitude=said["magnitude"],
        )
    except ApplicationError as error:
        return refuse(request, str(error), status=409)
    return answer_to(request, f"Put off: {services.CONDITIONS[said['condition']]}.")


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def wake(request: HttpRequest) -> HttpResponse:
    """Show me this object again at once."""
    form = NamedForm(request.POST)
    detection = find_detection(form.cleaned_data["detection"]) if form.is_valid() else None
    if detection is None:
        return refuse(request, "There is no such candidate.", status=404)
    services.wake(detection, signed_in(request))
    return JsonResponse({"detection": str(detection.pk)})
