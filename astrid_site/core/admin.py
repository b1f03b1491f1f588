"""Admin pages of the shared tables: the ledger, the event log, stored files, the audit trail."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from astrid_site.core import jobs
from astrid_site.core.errors import ApplicationError
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


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """The ledger, with the two things an operator does to it."""

    list_display = ("kind", "subject_id", "state", "attempts", "progress", "worker", "created_at")
    list_filter = ("state", "kind", "queue")
    search_fields = ("subject_id", "cause", "worker")
    date_hierarchy = "created_at"
    actions: ClassVar = ["retry_jobs", "cancel_jobs"]

    @admin.action(description="Run again", permissions=["view"])
    def retry_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Queue the chosen jobs again."""
        self._each(request, queryset, "retry")

    @admin.action(description="Cancel", permissions=["view"])
    def cancel_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Cancel the chosen jobs."""
        self._each(request, queryset, "cancel")

    def _each(self, request: HttpRequest, queryset: QuerySet[Job], action: str) -> None:
        if not request.user.has_perm("core.change_job"):
            self.message_user(request, "Your role may not change jobs.", messages.ERROR)
            return
        done = 0
        for job in queryset:
            try:
                jobs.retry(job) if action == "retry" else jobs.cancel(job)
            except ApplicationError as error:
                self.message_user(request, f"{job}: {error}", messages.WARNING)
            else:
                done += 1
        self.message_user(request, f"{done} jobs: {action}.")


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
