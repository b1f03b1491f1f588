"""The page of many candidates at once."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ApplicationError
from curation import services
from curation.forms import BatchForm, ManyForm
from curation.pages.mosaic import many_page
from curation.selectors import undecided
from curation.views.vetting import PULLED_OUT, pulled_out, survey_of
from observations.models import Survey

#: Where the session keeps the key of the last page of many, for its undo.
LAST_BATCH = "vet-last-batch"


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_GET
def many(request: HttpRequest) -> HttpResponse:
    """The least promising candidates of the queue, on one page."""
    survey = survey_of(request)
    kept = _still_undecided(request)
    context = {
        "section": "vet",
        "page": many_page(signed_in(request), survey=survey, pulled_out=kept),
        "survey": survey,
        "surveys": list(Survey.objects.filter(is_active=True).order_by("name")),
        "undo": request.session.get(LAST_BATCH),
    }
    return render(request, "curation/many.html", context)


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def decide(request: HttpRequest) -> HttpResponse:
    """All that was not pulled out is bogus; what was comes first on the vetting page."""
    form = ManyForm(request.POST)
    if not form.is_valid():
        messages.error(request, "The page was not understood; nothing was recorded.")
        return redirect(_address(request))
    said = form.cleaned_data
    try:
        verdicts = services.judge_many(
            signed_in(request), said["shown"], kept=said["kept"], batch=said["batch"]
        )
    except ApplicationError as error:
        messages.error(request, str(error))
        return redirect(_address(request))
    known = pulled_out(request)
    request.session[PULLED_OUT] = [str(key) for key in dict.fromkeys([*known, *said["kept"]])]
    request.session[LAST_BATCH] = str(said["batch"])
    text = f"{len(verdicts)} bogus."
    if said["kept"]:
        text += f" {len(said['kept'])} pulled out, to be looked at one by one."
    messages.success(request, text)
    return redirect(_address(request))


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def undo(request: HttpRequest) -> HttpResponse:
    """Take back all that one page of many said."""
    form = BatchForm(request.POST)
    if not form.is_valid():
        messages.error(request, "There is no such page of many; nothing was taken back.")
        return redirect(_address(request))
    n = services.take_back_many(signed_in(request), batch=form.cleaned_data["batch"])
    request.session.pop(LAST_BATCH, None)
    messages.success(request, f"Taken back: {n} verdicts.")
    return redirect(_address(request))


def _still_undecided(request: HttpRequest) -> list[UUID]:
    """What was pulled out and has no verdict of this person yet."""
    kept = undecided(signed_in(request), pulled_out(request))
    request.session[PULLED_OUT] = [str(key) for key in kept]
    return kept


def _address(request: HttpRequest) -> str:
    survey = survey_of(request)
    kept = f"?{urlencode({'survey': survey.slug})}" if survey else ""
    return reverse("curation:many") + kept
