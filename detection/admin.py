"""Admin pages of detections."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html

from astrid_site.core.admin import ReadOnlyAdmin
from detection.models import (
    CanaryResult,
    CanarySet,
    DataSet,
    Detection,
    DetectionRun,
    ScoringModel,
    TrainingRun,
)


@admin.register(DetectionRun)
class DetectionRunAdmin(ReadOnlyAdmin):
    """Searches of score images."""

    list_display = ("observation", "status", "n_candidates", "n_kept", "reason")
    list_filter = ("status",)
    list_select_related = ("observation__survey",)
    search_fields = ("observation__observation_id",)


@admin.register(Detection)
class DetectionAdmin(ReadOnlyAdmin):
    """Candidates with their difference cutout."""

    list_display = ("preview", "observation", "score", "real_bogus", "magnitude", "is_kept")
    list_filter = ("is_kept", "observation__survey")
    list_select_related = ("observation__survey",)
    search_fields = ("observation__observation_id",)
    show_full_result_count = False

    @admin.display(description="difference")
    def preview(self, detection: Detection) -> str:
        """The difference cutout, small."""
        return format_html(
            '<img src="{}" width="63" height="63" alt="difference cutout" loading="lazy">',
            reverse("api:candidate-panel", args=[detection.pk, "difference"]),
        )


@admin.register(ScoringModel)
class ScoringModelAdmin(ReadOnlyAdmin):
    """Models that score; they are promoted on their pages, through the gate."""

    list_display = ("name", "version", "family", "role", "role_since", "is_shipped")
    list_filter = ("role", "family")


@admin.register(DataSet)
class DataSetAdmin(ReadOnlyAdmin):
    """Data sets; they are built on their pages."""

    list_display = ("name", "version", "digest", "created_at")
    list_filter = ("name",)


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnlyAdmin):
    """Trainings with their epochs."""

    list_display = ("dataset", "start", "model", "seconds", "created_at")
    list_select_related = ("dataset", "start", "model")


@admin.register(CanarySet)
class CanarySetAdmin(ReadOnlyAdmin):
    """Sets of candidates whose truth is known."""

    list_display = ("__str__", "n_real", "n_bogus", "created_at")
    list_select_related = ("file",)


@admin.register(CanaryResult)
class CanaryResultAdmin(ReadOnlyAdmin):
    """What models said of the canaries."""

    list_display = ("model", "occasion", "role", "harm", "problem", "created_at")
    list_filter = ("occasion", "role")
    list_select_related = ("model",)
