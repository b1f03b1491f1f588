"""Admin pages of references and differences."""

from __future__ import annotations

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from astrid_site.core import audit
from astrid_site.core.admin import ReadOnlyAdmin
from differencing.models import DifferenceRun, ReferenceEpoch, ReferenceImage, ReferenceRun


class ReferenceEpochInline(admin.TabularInline[ReferenceEpoch, ReferenceImage]):
    """The epochs of a reference."""

    model = ReferenceEpoch
    extra = 0
    can_delete = False
    readonly_fields = ("science_image", "weight")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReferenceEpoch]:
        """Epochs with the images they name, in one query."""
        return super().get_queryset(request).select_related("science_image")

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """A reference's epochs are fixed when it is made."""
        return False


@admin.register(ReferenceImage)
class ReferenceImageAdmin(ReadOnlyAdmin):
    """References; one that is retired is used for nothing new."""

    list_display = ("target", "survey", "band", "is_active", "is_pinned", "created_at")
    list_filter = ("is_active", "is_pinned", "survey", "band")
    list_select_related = ("survey",)
    inlines = (ReferenceEpochInline,)
    actions = ["retire"]

    def has_retire_permission(self, request: HttpRequest) -> bool:
        """Who may take references out of use."""
        return request.user.has_perm("differencing.change_referenceimage")

    @admin.action(description="Retire: use for nothing new", permissions=["retire"])
    def retire(self, request: HttpRequest, queryset: QuerySet[ReferenceImage]) -> None:
        """Mark the chosen references as inactive."""
        done = 0
        for reference in queryset.filter(is_active=True):
            with transaction.atomic():
                if ReferenceImage.objects.filter(pk=reference.pk, is_active=True).update(
                    is_active=False
                ):
                    audit.record(request.user, "reference.retired", reference)
                    done += 1
        self.message_user(request, f"{done} references retired.")


@admin.register(ReferenceEpoch)
class ReferenceEpochAdmin(ReadOnlyAdmin):
    """Which science image went into which reference."""

    list_display = ("reference", "science_image", "weight")
    list_select_related = ("reference__survey", "science_image")


@admin.register(ReferenceRun)
class ReferenceRunAdmin(ReadOnlyAdmin):
    """Searches for a reference."""

    list_display = ("observation", "status", "reference", "reason")
    list_filter = ("status",)
    list_select_related = ("observation__survey", "reference__survey")
    search_fields = ("observation__observation_id", "reason")


@admin.register(DifferenceRun)
class DifferenceRunAdmin(ReadOnlyAdmin):
    """Differences and the verdict on their quality."""

    list_display = ("observation", "status", "method", "quality", "reason")
    list_filter = ("status", "method", "quality")
    list_select_related = ("observation__survey",)
    search_fields = ("observation__observation_id", "reason")
