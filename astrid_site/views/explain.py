"""The page that says why a place shows what it shows."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from astrid_site.accounts.people import signed_in
from astrid_site.explaining import DEFAULT_DAYS, PositionAnswer, Question, explain_position
from astrid_site.explaining.api import PERMISSION, VERDICTS
from astrid_site.explaining.forms import ExplainForm

#: More frames than these are for the command and the REST interface.
PAGE_FRAMES = 20


@login_required
@permission_required(PERMISSION, raise_exception=True)
@require_GET
def explain(request: HttpRequest) -> HttpResponse:
    """A form, and under it the answer of every frame."""
    form = ExplainForm(request.GET or None)
    answer = _answer(request, form) if form.is_bound and form.is_valid() else None
    context = {
        "section": "explain",
        "form": form,
        "answer": answer,
        "simulated_surveys": _simulated(answer) if answer else [],
    }
    return render(request, "explain/place.html", context)


def _answer(request: HttpRequest, form: ExplainForm) -> PositionAnswer:
    said = form.cleaned_data
    days = said["days"]
    return explain_position(
        Question(
            said["ra"] % 360.0,
            said["dec"],
            mjd=said["mjd"],
            days=DEFAULT_DAYS if days is None else days,
            survey=said["survey"],
            limit=PAGE_FRAMES,
            sees_verdicts=signed_in(request).has_perm(VERDICTS),
        )
    )


def _simulated(answer: PositionAnswer) -> list[str]:
    rows = [frame.observation for frame in answer.frames]
    return sorted({row.survey.name for row in rows if row.is_simulated})
