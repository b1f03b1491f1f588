"""Admin pages of surveys and observations."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from astrid_site.core.admin import AuditedAdmin
from astrid_site.core.errors import ApplicationError
from observations.models import Observation, Survey


@admin.register(Survey)
class SurveyAdmin(AuditedAdmin):
    """Survey facts and rules; the one place they are edited."""

    list_display = ("name", "mission", "is_simulated", "is_active", "detection_threshold")
    list_filter = ("is_active", "is_simulated")
    search_fields = ("name",)
    prepopulated_fields: ClassVar = {"slug": ("name",)}


@admin.register(Observation)
class ObservationAdmin(AuditedAdmin):
    """Observations; what was read from the file is not edited here."""

    list_display = ("observation_id", "survey", "target", "band", "observed_at", "status", "stage")
    list_filter = ("status", "survey", "band", "role", "is_simulated")
    list_select_related = ("survey",)
    search_fields = ("observation_id", "target", "reason")
    date_hierarchy = "observed_at"
    readonly_fields: ClassVar = [
        f.name for f in Observation._meta.fields if f.name not in {"role", "target"}
    ]

    # the table of stages lives above this app and is reached by name
    actions = ["retry", "cancel"]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Who may run observations again or stop them."""
        return bool(request.user.has_perm("observations.change_observation"))

    @admin.action(description="Run again from where they stopped", permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Observation]) -> None:
        """Queue the chosen observations again."""
        self._each(request, queryset, import_module(settings.CONTROL).retry, "run again")

    @admin.action(description="Stop all work on them", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Observation]) -> None:
        """Cancel the work on the chosen observations."""
        self._each(request, queryset, import_module(settings.CONTROL).cancel, "stopped")

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[Observation],
        act: Callable[[Observation, Any], object],
        word: str,
    ) -> None:
        done = 0
        for observation in queryset:
            try:
                done += bool(act(observation, request.user))
            except ApplicationError as error:
                self.message_user(request, f"{observation}: {error}.", messages.WARNING)
        self.message_user(request, f"{done} of {len(queryset)} observations {word}.")

    def has_add_permission(self, request: object) -> bool:
        """Observations come in through the FITS gate, not through a form."""
        return False
