"""Admin pages of surveys and observations."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin

from astrid_site.core.admin import AuditedAdmin
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

    def has_add_permission(self, request: object) -> bool:
        """Observations come in through the FITS gate, not through a form."""
        return False

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        """What was observed stays: candidates, light curves and verdicts rest on it."""
        return False
