"""Admin pages of cameras, calibration frames, masters and science images."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.contrib import admin
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest

from astrid_site.core.admin import AuditedAdmin, ReadOnlyAdmin
from preprocessing.models import (
    CalibrationFrame,
    CalibrationMaster,
    Camera,
    ReferenceCatalog,
    ScienceImage,
)
from preprocessing.services import request_build


@admin.register(Camera)
class CameraAdmin(AuditedAdmin):
    """Cameras: sections, crosstalk, and whether their measured numbers are used."""

    list_display = ("__str__", "survey", "gain", "stated_gain", "read_noise", "use_measured")
    list_filter = ("use_measured",)
    list_select_related = ("survey",)
    search_fields = ("instrument", "detector", "survey__name")
    readonly_fields: ClassVar = [
        "gain",
        "gain_error",
        "stated_gain",
        "read_noise",
        "saturation",
        "linearity",
        "measured_at",
        "warnings",
    ]

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        """Save, and have masters built that are made in another way now."""
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            request_build(cast(Camera, obj))


@admin.register(CalibrationFrame)
class CalibrationFrameAdmin(ReadOnlyAdmin):
    """Bias, dark and flat frames as they came in."""

    list_display = ("name", "kind", "band", "exposure_s", "temperature_c", "observed_at", "problem")
    list_filter = ("kind", "band")
    list_select_related = ("camera",)
    search_fields = ("name", "problem")
    date_hierarchy = "observed_at"


@admin.register(CalibrationMaster)
class CalibrationMasterAdmin(AuditedAdmin):
    """Masters: their validity, and whether they are used, can be changed."""

    list_display = (
        "__str__",
        "camera",
        "n_frames",
        "noise",
        "n_bad",
        "verdict",
        "is_active",
    )
    list_filter = ("kind", "verdict", "is_active", "band")
    list_select_related = ("camera__survey",)
    search_fields = ("band", "camera__instrument", "digest")
    date_hierarchy = "observed_from"
    readonly_fields: ClassVar = [
        field.name
        for field in (*CalibrationMaster._meta.fields, *CalibrationMaster._meta.many_to_many)
        if field.name not in {"valid_from", "valid_until", "is_active"}
    ]

    def has_add_permission(self, request: object) -> bool:
        """Masters are built from frames, not through a form."""
        return False


@admin.register(ReferenceCatalog)
class ReferenceCatalogAdmin(AuditedAdmin):
    """Catalogues of reference stars: whether they are used can be changed."""

    list_display = ("name", "survey", "n_stars", "bands", "is_active")
    list_filter = ("is_active",)
    list_select_related = ("survey",)
    search_fields = ("name", "survey__name")
    readonly_fields: ClassVar = ["survey", "name", "bands", "has_color", "n_stars", "file"]

    def has_add_permission(self, request: object) -> bool:
        """Catalogues are imported by a command, not through a form."""
        return False


@admin.register(ScienceImage)
class ScienceImageAdmin(ReadOnlyAdmin):
    """Preprocessing runs and their numbers."""

    list_display = (
        "observation",
        "status",
        "seeing_arcsec",
        "zero_point",
        "limiting_magnitude",
        "n_stars",
    )
    list_filter = ("status",)
    list_select_related = ("observation__survey",)
    search_fields = ("observation__observation_id", "reason")
