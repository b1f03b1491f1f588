"""The vetting page: one candidate at a time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from astrid_site.accounts.models import User
from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ApplicationError
from curation import pages, selectors, services
from curation.forms import VerdictForm
from curation.models import Verdict
from detection.pages import STRETCHES

MAX_AHEAD = 10


def _stretch(request: HttpRequest) -> str:
    asked = request.GET.get("stretch", "")
    return asked if asked in STRETCHES else STRETCHES[0]


def _context(request: HttpRequest, card: pages.Card | None) -> dict[str, Any]:
    curator = signed_in(request)
    return {
        "section": "vet",
        "card": card,
        "tally": pages.tally(curator),
        "answers": pages.ANSWERS,
        "reasons": pages.REASONS,
        "stretch": _stretch(request),
        "stretches": STRETCHES,
    }


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_GET
def vet(request: HttpRequest) -> HttpResponse:
    """The best candidate that I have not decided."""
    cards = pages.next_cards(signed_in(request), limit=1)
    return render(request, "curation/vet.html", _context(request, cards[0] if cards else None))


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_GET
def vet_candidate(request: HttpRequest, detection_id: UUID) -> HttpResponse:
    """One named candidate, decided or not; only its card for the page that is already open."""
    detection = pages.find_detection(detection_id)
    if detection is None:
        msg = "There is no such candidate."
        raise Http404(msg)
    card = pages.make_card(detection, signed_in(request))
    if request.GET.get("part") == "card":
        context = {"cards": [card], "stretch": _stretch(request)}
        return render(request, "curation/partials/cards.html", context)
    return render(request, "curation/vet.html", _context(request, card))


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_GET
def queue(request: HttpRequest) -> HttpResponse:
    """Cards of the next candidates, apart from those the page already holds."""
    exclude = []
    for word in request.GET.get("exclude", "").split(",")[:200]:
        try:
            exclude.append(UUID(word))
        except ValueError:
            continue
    asked = request.GET.get("limit", "5")
    limit = min(int(asked), MAX_AHEAD) if asked.isdigit() else 5
    cards = pages.next_cards(signed_in(request), limit=limit, exclude=exclude)
    context = {"cards": cards, "stretch": _stretch(request)}
    return render(request, "curation/partials/cards.html", context)


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def decide(request: HttpRequest) -> HttpResponse:
    """Record one decision; the same decision sent twice is one decision."""
    form = VerdictForm(request.POST)
    if not form.is_valid():
        return _refuse(request, " ".join(str(e) for errors in form.errors.values() for e in errors))
    said = form.cleaned_data
    detection = pages.find_detection(said["detection"])
    if detection is None:
        return _refuse(request, "There is no such candidate.", status=404)
    try:
        verdict = services.give_verdict(
            detection,
            signed_in(request),
            label=said["label"],
            reason=said["reason"],
            comment=said["comment"],
            seconds=said["seconds"],
        )
    except ApplicationError as error:
        return _refuse(request, str(error), status=409)
    if _wants_json(request):
        return JsonResponse({"detection": str(detection.pk), "label": verdict.label})
    messages.success(request, f"Recorded: {verdict.get_label_display()}.")
    return _to_vet(request)


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def undo(request: HttpRequest) -> HttpResponse:
    """Withdraw one decision of mine, the latest if none is named, and go back to it."""
    curator = signed_in(request)
    named = request.POST.get("detection", "")
    try:
        verdict = _named_verdict(named, curator) if named else pages.last_decided(curator)
    except ValueError:
        return _refuse(request, "detection must be a UUID.")
    if verdict is None:
        return _refuse(request, "There is nothing to undo.", status=409)
    services.withdraw_verdict(verdict.detection, curator)
    if _wants_json(request):
        return JsonResponse({"detection": str(verdict.detection_id), "label": verdict.label})
    messages.success(request, f"Taken back: {verdict.get_label_display()}.")
    return redirect("curation:vet_candidate", verdict.detection_id)


def _named_verdict(word: str, curator: User) -> Verdict | None:
    detection = pages.find_detection(UUID(word))
    return selectors.current_verdict(detection, curator) if detection else None


def _refuse(request: HttpRequest, reason: str, *, status: int = 422) -> HttpResponse:
    if _wants_json(request):
        return JsonResponse({"error": reason}, status=status)
    messages.error(request, reason)
    return _to_vet(request)


def _to_vet(request: HttpRequest) -> HttpResponse:
    """On to the next candidate, at the stretch the form was sent with."""
    stretch = request.POST.get("stretch", "")
    query = f"?stretch={stretch}" if stretch in STRETCHES[1:] else ""
    return redirect(reverse("curation:vet") + query)
