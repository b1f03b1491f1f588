"""Configuration of the curation app."""

from django.apps import AppConfig


class CurationConfig(AppConfig):
    """Names the app."""

    name = "curation"
    label = "curation"
    default_auto_field = "django.db.models.BigAutoField"
