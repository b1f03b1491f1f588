"""Admin pages of objects."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from astrid_site.core.admin import ReadOnlyAdmin
from catalog.models import (
    AssociationRun,
    AstroObject,
    ContextList,
    ForcedRequest,
    LightCurvePoint,
    ObjectDetection,
    ObjectStatement,
    PhotometryRun,
    SavedSearch,
)


class LightCurveInline(admin.TabularInline[LightCurvePoint, AstroObject]):
    """The light curve of an object."""

    model = LightCurvePoint
    extra = 0
    can_delete = False
    fields = (
        "mjd",
        "band",
        "kind",
        "flux",
        "flux_error",
        "magnitude",
        "limiting_magnitude",
        "flags",
    )
    readonly_fields = fields

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:
        """Points are measured, not typed."""
        return False


@admin.register(AstroObject)
class AstroObjectAdmin(ReadOnlyAdmin):
    """Objects; their state follows from verdicts."""

    list_display = ("name", "state", "n_detections", "best_real_bogus", "last_detected_at")
    list_filter = ("state", "is_simulated")
    search_fields = ("name",)
    inlines = (LightCurveInline,)


@admin.register(ObjectDetection)
class ObjectDetectionAdmin(ReadOnlyAdmin):
    """Which detection belongs to which object."""

    list_display = ("astro_object", "detection", "separation_arcsec")
    list_select_related = ("astro_object", "detection")
    search_fields = ("astro_object__name",)


@admin.register(LightCurvePoint)
class LightCurvePointAdmin(ReadOnlyAdmin):
    """Forced photometry of every object at every epoch, difference and total flux apart."""

    list_display = ("astro_object", "mjd", "band", "kind", "flux", "flux_error", "magnitude")
    list_filter = ("kind", "band")
    list_select_related = ("astro_object",)
    search_fields = ("astro_object__name",)
    show_full_result_count = False


@admin.register(ObjectStatement)
class ObjectStatementAdmin(ReadOnlyAdmin):
    """What people said of objects, withdrawn or not."""

    list_display = ("astro_object", "kind", "text", "number", "said_by", "created_at")
    list_filter = ("kind",)
    list_select_related = ("astro_object", "said_by")
    search_fields = ("astro_object__name", "text")


@admin.register(SavedSearch)
class SavedSearchAdmin(ReadOnlyAdmin):
    """Searches that people keep."""

    list_display = ("name", "owner", "is_public", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name",)


for run_model in (AssociationRun, PhotometryRun):
    admin.site.register(
        run_model,
        type(
            f"{run_model.__name__}Admin",
            (ReadOnlyAdmin,),
            {
                "list_display": ("observation", "status", "reason"),
                "list_filter": ("status",),
                "list_select_related": ("observation__survey",),
            },
        ),
    )


@admin.register(ForcedRequest)
class ForcedRequestAdmin(ReadOnlyAdmin):
    """Places whose fluxes people asked for."""

    list_display = ("__str__", "owner", "survey", "created_at")
    list_select_related = ("owner", "survey")
    search_fields = ("name",)
    exclude = ("points",)


@admin.register(ContextList)
class ContextListAdmin(ReadOnlyAdmin):
    """Lists of known things that are held here."""

    list_display = ("name", "kind", "n_rows", "epoch", "is_whole_sky", "is_active", "created_at")
    list_filter = ("kind", "is_active")
    search_fields = ("name",)
    exclude = ("cells",)
