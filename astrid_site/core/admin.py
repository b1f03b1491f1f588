"""Admin pages of the shared tables: the ledger, the event log, stored files, the audit trail."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest

from astrid_site.core import audit
from astrid_site.core.addresses import client_address
from astrid_site.core.models import AuditEntry, Event, Heartbeat, IdempotencyKey, Job, StoredFile


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows that only the program writes: to be looked at, never edited."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds a row by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes a row by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes a row by hand."""
        return False


class AuditedAdmin(admin.ModelAdmin[Any]):
    """Rows that people edit; every edit goes to the audit trail with what it was before.

    They are switched off, not deleted: what was observed and decided rests on them.
    """

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes a row by hand."""
        return False

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        """Save, and say what changed."""
        fields = {name: form.cleaned_data.get(name) for name in form.changed_data}
        before = {name: form.initial.get(name) for name in form.changed_data} if change else {}
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            audit.record(
                request.user,
                f"{obj._meta.model_name}.{'changed' if change else 'added'}",
                obj,
                before=_plain(before),
                after=_plain(fields),
                address=client_address(request),
            )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Values as JSON holds them; secrets and rows by their names."""
    kept = {k: v for k, v in values.items() if "password" not in k}
    simple = (str, int, float, bool, dict, list, type(None))
    return {k: v if isinstance(v, simple) else str(v) for k, v in kept.items()}


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """The ledger, with the raw text of errors; work is run again where its observation is."""

    list_display = ("kind", "subject_id", "state", "attempts", "crashes", "trouble", "created_at")
    list_filter = ("state", "trouble", "kind", "queue")
    search_fields = ("subject_id", "cause", "worker")
    date_hierarchy = "created_at"


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """The replayable log."""

    list_display = ("sequence", "kind", "subject_id", "created_at")
    list_filter = ("kind",)
    search_fields = ("subject_id",)


@admin.register(StoredFile)
class StoredFileAdmin(ReadOnlyAdmin):
    """What lies in the object store."""

    list_display = ("name", "kind", "size", "sha256", "created_at")
    list_filter = ("kind",)
    search_fields = ("name", "sha256")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who did what."""

    list_display = ("created_at", "actor", "action", "subject_type", "subject_id")
    list_filter = ("action", "subject_type")
    search_fields = ("subject_id", "actor__username")
    list_select_related = ("actor",)
    date_hierarchy = "created_at"


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    """Long-running processes and when they were last seen."""

    list_display = ("name", "kind", "seen_at")
    list_filter = ("kind",)


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    """Answers kept for repeated requests."""

    list_display = ("key", "user", "status", "created_at")
    list_select_related = ("user",)
