"""Configuration of the observations app."""

from django.apps import AppConfig


class ObservationsConfig(AppConfig):
    """Names the app."""

    name = "observations"
    label = "observations"
    default_auto_field = "django.db.models.BigAutoField"
