"""The pages of models: who scores, how well, and who is champion."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from astrid_site import promotion
from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ApplicationError
from astrid_site.pages import models as pages
from astrid_site.pages.comparison import compare_models
from detection import services
from detection.models import ScoringModel

_MAX_REASON = 300


@login_required
@permission_required("detection.view_scoringmodel", raise_exception=True)
@require_GET
def listing(request: HttpRequest) -> HttpResponse:
    """Every model."""
    context = {"section": "models", "rows": pages.model_rows()}
    return render(request, "models/list.html", context)


@login_required
@permission_required("detection.view_scoringmodel", raise_exception=True)
@require_GET
def detail(request: HttpRequest, model_id: UUID) -> HttpResponse:
    """One model: its figures, its curves, the gate before it, its history."""
    page = pages.model_page(get_object_or_404(ScoringModel, pk=model_id))
    context = {"section": "models", "page": page, "model": page.row.model}
    return render(request, "models/detail.html", context)


@login_required
@permission_required("detection.view_scoringmodel", raise_exception=True)
@require_GET
def compare(request: HttpRequest, model_id: UUID) -> HttpResponse:
    """A model beside the champion; the champion's own address leads to its page."""
    model = get_object_or_404(ScoringModel, pk=model_id)
    champion = ScoringModel.objects.filter(role=ScoringModel.Role.CHAMPION).first()
    if champion is None or champion.pk == model.pk:
        return redirect("models:detail", model.pk)
    context = {"section": "models", "page": compare_models(model, champion)}
    return render(request, "models/compare.html", context)


@login_required
@permission_required("detection.change_scoringmodel", raise_exception=True)
@require_POST
def promote(request: HttpRequest, model_id: UUID) -> HttpResponse:
    """Make a model champion, if the gate is open."""
    model = get_object_or_404(ScoringModel, pk=model_id)
    try:
        promotion.promote(model, signed_in(request))
    except ApplicationError as error:
        messages.error(request, f"Not promoted: {error}.")
    else:
        messages.success(
            request, f"{model} is champion. A worker is putting its scores on all candidates."
        )
    return redirect("models:detail", model.pk)


@login_required
@permission_required("detection.change_scoringmodel", raise_exception=True)
@require_POST
def roll_back(request: HttpRequest, model_id: UUID) -> HttpResponse:
    """Take the champion's place away and give it to the one before."""
    model = get_object_or_404(ScoringModel, pk=model_id)
    reason = request.POST.get("reason", "").strip()[:_MAX_REASON]
    if model.role != ScoringModel.Role.CHAMPION:
        messages.error(request, f"Not rolled back: {model} is not the champion.")
    elif not reason:
        messages.error(request, "Not rolled back: say why; it is kept on record.")
    else:
        try:
            promotion.roll_back(signed_in(request), reason=reason)
        except ApplicationError as error:
            messages.error(request, f"Not rolled back: {error}.")
        else:
            messages.success(request, "Rolled back. A worker is putting the old scores back.")
    return redirect("models:detail", model.pk)


@login_required
@permission_required("detection.change_scoringmodel", raise_exception=True)
@require_POST
def set_role(request: HttpRequest, model_id: UUID) -> HttpResponse:
    """Name a challenger, let a model score in the shadow, or retire it."""
    model = get_object_or_404(ScoringModel, pk=model_id)
    role = request.POST.get("role", "")
    if role not in {*ScoringModel.Role.values} - {ScoringModel.Role.CHAMPION.value}:
        messages.error(request, f"Not changed: {role!r} is no part a model can be given.")
    else:
        try:
            services.set_role(model, role, signed_in(request))
        except ApplicationError as error:
            messages.error(request, f"Not changed: {error}.")
        else:
            messages.success(request, f"{model} is now {role}.")
    return redirect("models:detail", model.pk)
