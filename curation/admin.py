"""Admin curation: the verdict history, and verdicts on many candidates at once."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from astrid_site.accounts.models import User
from astrid_site.core.admin import ReadOnlyAdmin
from curation import services
from curation.models import Verdict
from detection.admin import DetectionAdmin
from detection.models import Detection


@admin.register(Verdict)
class VerdictAdmin(ReadOnlyAdmin):
    """Every verdict ever given; rows are appended, never edited."""

    list_display = ("detection", "curator", "label", "reason", "seconds", "created_at")
    list_filter = ("label", "reason", "curator")
    list_select_related = ("detection__observation__survey", "curator")
    date_hierarchy = "created_at"
    search_fields = ("comment", "curator__username")


class CuratedDetectionAdmin(DetectionAdmin):
    """Candidates, with verdicts on many at once."""

    actions: ClassVar = ["mark_real", "mark_bogus", "mark_unsure"]

    @admin.action(description="Verdict: real", permissions=["view"])
    def mark_real(self, request: HttpRequest, queryset: QuerySet[Detection]) -> None:
        """My verdict on each chosen candidate is real."""
        self._give(request, queryset, Verdict.Label.REAL)

    @admin.action(description="Verdict: bogus", permissions=["view"])
    def mark_bogus(self, request: HttpRequest, queryset: QuerySet[Detection]) -> None:
        """My verdict on each chosen candidate is bogus."""
        self._give(request, queryset, Verdict.Label.BOGUS)

    @admin.action(description="Verdict: unsure", permissions=["view"])
    def mark_unsure(self, request: HttpRequest, queryset: QuerySet[Detection]) -> None:
        """My verdict on each chosen candidate is unsure."""
        self._give(request, queryset, Verdict.Label.UNSURE)

    def _give(self, request: HttpRequest, queryset: QuerySet[Any], label: Verdict.Label) -> None:
        if not isinstance(request.user, User) or not request.user.has_perm("curation.add_verdict"):
            self.message_user(request, "Your role may not give verdicts.", messages.ERROR)
            return
        for detection in queryset:
            services.give_verdict(detection, request.user, label=label, comment="in bulk")
        self.message_user(request, f"{len(queryset)} verdicts: {label.label}.")


admin.site.unregister(Detection)
admin.site.register(Detection, CuratedDetectionAdmin)
