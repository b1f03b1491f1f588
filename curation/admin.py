"""Admin curation: the verdict history, and verdicts on many candidates at once."""

from __future__ import annotations

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from astrid_site.accounts.models import User
from astrid_site.core import audit
from astrid_site.core.addresses import client_address
from astrid_site.core.admin import ReadOnlyAdmin
from astrid_site.core.templatetags.astro import number, probability, signed
from curation import services
from curation.models import (
    Assignment,
    Consensus,
    ConsensusRule,
    Snooze,
    SpotCheck,
    Verdict,
)
from detection.admin import DetectionAdmin
from detection.models import Detection

#: More than anybody has looked at on one admin page.
MAX_IN_BULK = 500
IN_BULK = "in bulk"


@admin.register(Verdict)
class VerdictAdmin(ReadOnlyAdmin):
    """Every verdict ever given; rows are appended, never edited."""

    list_display = ("detection", "curator", "label", "tier", "reason", "seconds", "created_at")
    list_filter = ("label", "tier", "reason", "curator")
    list_select_related = ("detection__observation__survey", "curator")
    date_hierarchy = "created_at"
    search_fields = ("comment", "curator__username")


@admin.register(Assignment)
class AssignmentAdmin(ReadOnlyAdmin):
    """Who has which object to decide just now."""

    list_display = ("unit", "curator", "is_open", "seen_at", "until")
    list_filter = ("is_open", "curator")
    list_select_related = ("curator",)
    search_fields = ("unit", "curator__username")


@admin.register(Consensus)
class ConsensusAdmin(ReadOnlyAdmin):
    """What the answers about each object come to."""

    list_display = ("unit", "standing", "label", "n_people", "n_agreeing", "is_retired")
    list_filter = ("standing", "label", "is_retired")
    search_fields = ("unit",)


@admin.register(ConsensusRule)
class ConsensusRuleAdmin(ReadOnlyAdmin):
    """The rules of consensus, each with who made it; the newest counts."""

    list_display = ("__str__", "made_by", "enough_real", "enough_bogus", "created_at")
    list_select_related = ("made_by",)
    search_fields = ("made_by__username",)


@admin.register(SpotCheck)
class SpotCheckAdmin(ReadOnlyAdmin):
    """What came back to whoever called it bogus among many, and what they said then."""

    list_display = ("detection", "curator", "label", "answered_at", "created_at")
    list_filter = ("label", "curator")
    list_select_related = ("detection__observation__survey", "curator")
    search_fields = ("curator__username",)


@admin.register(Snooze)
class SnoozeAdmin(ReadOnlyAdmin):
    """What people put off, and until when."""

    list_display = ("unit", "curator", "until", "n_detections", "magnitude")
    list_filter = ("curator",)
    list_select_related = ("curator",)
    search_fields = ("unit", "curator__username")


class VerdictActionForm(ActionForm):
    """What is done with the chosen rows, and why where they are bogus."""

    reason = forms.ChoiceField(
        choices=[("", "no reason"), *(c for c in Verdict.Reason.choices if c[0])],
        required=False,
        label="If bogus, why:",
    )


class CuratedDetectionAdmin(DetectionAdmin):
    """Candidates, with verdicts on many at once."""

    list_display = ("preview", "observation", "sigma", "model_score", "ab_magnitude", "kept")
    actions = ["mark_real", "mark_bogus", "mark_unsure", "mark_variable", "mark_moving"]
    action_form = VerdictActionForm

    @admin.action(description="Verdict: real", permissions=["judge"])
    def mark_real(self, request: HttpRequest, queryset: QuerySet[Detection]) -> None:
        """My verdict on each chosen candidate is real."""
        self._give(request, queryset, Verdict.Label.REAL)

    @admin.action(description="Verdict: bogus", permissions=["judge"])
    def mark_bogus(self, request: HttpRequest, queryset: QuerySet[Detection]) -> None:
        """My verdict on each chosen candidate is bogus."""
        self._give(request, queryset, Verdict.Label.BOGUS)

    @admin.action(description="Verdict: unsure", permissions=["judge"])
    def mark_unsure(self, request: HttpRequest, queryset: QuerySet[Detection]) -> None:
        """My verdict on each chosen candidate is unsure."""
        self._give(request, queryset, Verdict.Label.UNSURE)

    @admin.action(description="Verdict: variable star or AGN", permissions=["judge"])
    def mark_variable(self, request: HttpRequest, queryset: QuerySet[Detection]) -> None:
        """My verdict on each chosen candidate is variable star or AGN."""
        self._give(request, queryset, Verdict.Label.VARIABLE)

    @admin.action(description="Verdict: minor planet", permissions=["judge"])
    def mark_moving(self, request: HttpRequest, queryset: QuerySet[Detection]) -> None:
        """My verdict on each chosen candidate is minor planet."""
        self._give(request, queryset, Verdict.Label.MOVING)

    @admin.display(description="score", ordering="score")
    def sigma(self, detection: Detection) -> str:
        """The score as Vet shows it."""
        return signed(detection.score)

    @admin.display(description="model", ordering="real_bogus")
    def model_score(self, detection: Detection) -> str:
        """The real-bogus score as Vet shows it."""
        return probability(detection.real_bogus)

    @admin.display(description="mag", ordering="magnitude")
    def ab_magnitude(self, detection: Detection) -> str:
        """The difference magnitude as Vet shows it."""
        return number(detection.magnitude, 2)

    @admin.display(description="kept", ordering="is_kept", boolean=True)
    def kept(self, detection: Detection) -> bool:
        """Whether it passed every cut."""
        return detection.is_kept

    def has_judge_permission(self, request: HttpRequest) -> bool:
        """Who may give verdicts."""
        return request.user.has_perm("curation.add_verdict")

    def _give(
        self, request: HttpRequest, queryset: QuerySet[Detection], label: Verdict.Label
    ) -> None:
        reason = request.POST.get("reason", "")
        if reason and label != Verdict.Label.BOGUS:
            msg = "Only a bogus candidate has a reason; nothing was changed."
            self.message_user(request, msg, messages.ERROR)
            return
        chosen = list(queryset[: MAX_IN_BULK + 1])
        if len(chosen) > MAX_IN_BULK:
            msg = f"At most {MAX_IN_BULK} candidates at once; nothing was changed."
            self.message_user(request, msg, messages.ERROR)
            return
        curator = User.objects.get(username=request.user.get_username())
        with transaction.atomic():
            for detection in chosen:
                services.give_verdict(
                    detection, curator, label=label, reason=reason, comment=IN_BULK
                )
            audit.record(
                curator,
                "verdict.bulk",
                curator,
                after={"label": label, "reason": reason, "detections": [str(d.pk) for d in chosen]},
                address=client_address(request),
            )
        said = f"{label.label}, {Verdict.Reason(reason).label}" if reason else label.label
        self.message_user(request, f"{len(chosen)} verdicts: {said}.")


admin.site.unregister(Detection)
admin.site.register(Detection, CuratedDetectionAdmin)
