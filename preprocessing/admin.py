"""Admin page of science images."""

from django.contrib import admin

from astrid_site.core.admin import ReadOnlyAdmin
from preprocessing.models import ScienceImage


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
