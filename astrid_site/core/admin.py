"""Admin pages of the shared tables: the ledger, the event log, stored files, the audit trail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from astrid_site.core import audit, jobs
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
    """Rows that people edit; every edit goes to the audit trail with what it was before."""

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
    """The ledger, with the two things an operator does to it."""

    list_display = ("kind", "subject_id", "state", "attempts", "progress", "worker", "created_at")
    list_filter = ("state", "kind", "queue")
    search_fields = ("subject_id", "cause", "worker")
    date_hierarchy = "created_at"
    actions = ["retry_jobs", "cancel_jobs"]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Who may run jobs again or stop them."""
        return bool(request.user.has_perm("core.change_job"))

    @admin.action(description="Run again", permissions=["operate"])
    def retry_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Queue the chosen jobs again."""
        self._each(request, queryset, "retry", jobs.retry)

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Cancel the chosen jobs."""
        self._each(request, queryset, "cancel", jobs.cancel)

    def _each(
        self,
        request: HttpRequest,
        queryset: QuerySet[Job],
        word: str,
        act: Callable[[Job], bool],
    ) -> None:
        done = 0
        for job in queryset:
            with transaction.atomic():
                if act(job):
                    done += 1
                    before = {"state": job.state}
                    address = client_address(request)
                    audit.record(request.user, f"job.{word}", job, before=before, address=address)
        left = len(queryset) - done
        note = f"; {left} were not in a state for it" if left else ""
        self.message_user(request, f"{word}: {done} jobs{note}.")


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
