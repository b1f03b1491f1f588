"""The vetting page: one candidate at a time."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET, require_POST

from astrid_site.accounts.models import User
from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ApplicationError
from curation import selectors, services
from curation.forms import LeaveForm, PresenceForm, VerdictForm
from curation.models import Verdict
from curation.pages import vetting as pages
from detection.pages import STRETCHES
from observations.models import Survey
from observations.selectors import simulated_names

MAX_AHEAD = 10
#: Up to when a page was heard of; its farewell says so again.
HEARD_AT = "X-AstrID-Heard-At"
#: Where the session keeps whether scores are shown.
BLINDING = "vet-blinding"
#: Where the session keeps what was pulled out of pages of many.
PULLED_OUT = "vet-pulled-out"


def _stretch(request: HttpRequest) -> str:
    asked = request.GET.get("stretch", "")
    return asked if asked in STRETCHES else STRETCHES[0]


def pulled_out(request: HttpRequest) -> list[UUID]:
    """What this person pulled out of pages of many, to be looked at first."""
    return [UUID(word) for word in request.session.get(PULLED_OUT, [])]


def blinding_of(request: HttpRequest) -> pages.Blinding:
    """Whether this person wants to see the model's score before deciding."""
    return pages.Blinding(request.session.get(BLINDING, pages.Blinding.SHOWN))


def survey_of(request: HttpRequest) -> Survey | None:
    """The survey the queue is narrowed to, which every step keeps; None for all of them."""
    asked = request.POST.get("survey") or request.GET.get("survey")
    if not asked:
        return None
    # PostgreSQL refuses to look for a text with a NUL
    plain = asked.replace("\0", "?")
    found = Survey.objects.filter(slug=plain, is_active=True).first()
    if found is None:
        msg = f"There is no active survey “{plain}”."
        raise Http404(msg)
    return found


def _context(request: HttpRequest, card: pages.Card | None) -> dict[str, Any]:
    survey = survey_of(request)
    surveys = Survey.objects.filter(is_active=True).order_by("name")
    told: dict[str, Any] = {}
    if card is not None:  # each card says it of its own frame
        told["simulated_surveys"] = []
    elif survey is not None:
        told["simulated_surveys"] = simulated_names(survey)
    return told | {
        "section": "vet",
        "card": card,
        "survey": survey,
        "surveys": list(surveys),
        "tally": pages.tally(signed_in(request), survey=survey),
        "answers": pages.ANSWERS,
        "reasons": pages.REASONS,
        "conditions": services.CONDITIONS,
        "stretch": _stretch(request),
        "stretches": STRETCHES,
        "tools": pages.TOOLS,
        "other_keys": pages.OTHER_KEYS,
        "look": pages.look_json(),
    }


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_GET
def vet(request: HttpRequest) -> HttpResponse:
    """The best candidate that I have not decided."""
    cards = pages.next_cards(
        signed_in(request),
        limit=1,
        survey=survey_of(request),
        first=pulled_out(request),
        blinding=blinding_of(request),
    )
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
    is_settling = "settle" in request.GET
    if is_settling:
        _require_expert(request)
    blinding = pages.Blinding.SHOWN if is_settling else blinding_of(request)
    card = pages.make_card(
        detection, signed_in(request), is_settling=is_settling, blinding=blinding
    )
    if request.GET.get("part") == "card":
        return render(request, "curation/partials/cards.html", {"cards": [card]})
    context = _context(request, card) | {"is_settling": is_settling}
    return render(request, "curation/vet.html", context)


def _require_expert(request: HttpRequest) -> None:
    if not request.user.has_perm("curation.settle_verdict"):
        raise PermissionDenied


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_GET
@gzip_page
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
    cards = pages.next_cards(
        signed_in(request),
        limit=limit,
        exclude=exclude,
        survey=survey_of(request),
        first=pulled_out(request),
        blinding=blinding_of(request),
    )
    answer = render(request, "curation/partials/cards.html", {"cards": cards})
    answer[HEARD_AT] = timezone.now().isoformat()
    return answer


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def decide(request: HttpRequest) -> HttpResponse:
    """Record one decision; the same decision sent twice is one decision."""
    form = VerdictForm(request.POST)
    if not form.is_valid():
        return refuse(request, " ".join(str(e) for errors in form.errors.values() for e in errors))
    said = form.cleaned_data
    if said["tier"] == Verdict.Tier.EXPERT:
        _require_expert(request)
    detection = pages.find_detection(said["detection"])
    if detection is None:
        return refuse(request, "There is no such candidate.", status=404)
    is_hidden = said["tier"] == Verdict.Tier.VOTE and pages.is_hidden(
        blinding_of(request), detection.pk, signed_in(request)
    )
    try:
        verdict = services.give_verdict(
            detection,
            signed_in(request),
            label=said["label"],
            reason=said["reason"],
            comment=said["comment"],
            seconds=said["seconds"],
            decision=said["decision"],
            tier=said["tier"],
            rating=said["rating"],
            score_hidden=is_hidden,
        )
    except ApplicationError as error:
        return refuse(request, str(error), status=409)
    if _wants_json(request):
        return JsonResponse({"detection": str(detection.pk), "label": verdict.label})
    messages.success(request, f"Recorded: {verdict.get_label_display()}.")
    if verdict.tier == Verdict.Tier.EXPERT:
        return redirect("curation:together")
    return _to_vet(request)


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def undo(request: HttpRequest) -> HttpResponse:
    """Withdraw one decision of mine, the latest if none is named, and go back to it."""
    curator = signed_in(request)
    named, decision = request.POST.get("detection", ""), request.POST.get("decision", "")
    try:
        key = UUID(decision) if decision else None
        verdict = services.stored_decision(curator, key)
        if verdict is None:
            verdict = _named_verdict(named, curator) if named else pages.last_decided(curator)
    except ValueError:
        return refuse(request, "detection and decision must be UUIDs.")
    if verdict is None:
        return refuse(request, "There is nothing to undo.", status=409)
    services.withdraw_verdict(verdict.detection, curator, decision=key)
    if _wants_json(request):
        return JsonResponse({"detection": str(verdict.detection_id), "label": verdict.label})
    messages.success(request, f"Taken back: {verdict.get_label_display()}.")
    return redirect(_address(request, "curation:vet_candidate", verdict.detection_id))


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def presence(request: HttpRequest) -> HttpResponse:
    """My page is open and holds these candidates; who else is here."""
    form = PresenceForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"error": "showing and held must be UUIDs."}, status=422)
    curator, showing = signed_in(request), form.cleaned_data["showing"]
    at = services.keep_assignments(curator, form.cleaned_data["held"], showing=showing)
    unit = selectors.units_of([showing])[showing] if showing else None
    people, here = selectors.people_present(curator, unit)
    return JsonResponse({"people": people, "here": here, "at": at.isoformat()})


@login_required
@permission_required("curation.add_verdict", raise_exception=True)
@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """My page is closed: others may have the candidates that it held."""
    form = LeaveForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"error": "at must be a time."}, status=422)
    services.give_back(signed_in(request), at=form.cleaned_data["at"])
    return HttpResponse(status=204)


def _named_verdict(word: str, curator: User) -> Verdict | None:
    detection = pages.find_detection(UUID(word))
    return selectors.current_verdict(detection, curator) if detection else None


def answer_to(request: HttpRequest, text: str) -> HttpResponse:
    """Done: for a script, or on to the next candidate with a word of it."""
    if _wants_json(request):
        return JsonResponse({"said": text})
    messages.success(request, text)
    return _to_vet(request)


def refuse(request: HttpRequest, reason: str, *, status: int = 422) -> HttpResponse:
    """Not done, and why: for a script, or on to the next candidate."""
    if _wants_json(request):
        return JsonResponse({"error": reason}, status=status)
    messages.error(request, reason)
    return _to_vet(request)


def _to_vet(request: HttpRequest) -> HttpResponse:
    """On to the next candidate."""
    return redirect(_address(request, "curation:vet"))


def _address(request: HttpRequest, name: str, *args: object) -> str:
    """A page of the queue, at the stretch and of the survey the form was sent with."""
    stretch, survey = request.POST.get("stretch", ""), survey_of(request)
    kept = {"stretch": stretch} if stretch in STRETCHES[1:] else {}
    kept |= {"survey": survey.slug} if survey else {}
    return reverse(name, args=args) + (f"?{urlencode(kept)}" if kept else "")
