"""The page of one's own work."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from astrid_site.accounts.people import signed_in
from curation.forms import BlindingForm
from curation.pages.mine import my_page
from curation.views.vetting import BLINDING, blinding_of


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    """My pace, what slips through, and how far I agree with others and with the model."""
    context = {"section": "vet", "page": my_page(signed_in(request)), "now": blinding_of(request)}
    return render(request, "curation/mine.html", context)


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def set_blinding(request: HttpRequest) -> HttpResponse:
    """Show me the model's score before I decide, never, or of half of the candidates."""
    form = BlindingForm(request.POST)
    if form.is_valid():
        request.session[BLINDING] = form.cleaned_data["blinding"]
        messages.success(request, "Kept until you log out.")
    else:
        messages.error(request, "blinding must be shown, hidden or half; nothing was changed.")
    return redirect("curation:mine")
