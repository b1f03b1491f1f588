"""Configuration of the differencing app."""

from django.apps import AppConfig


class DifferencingConfig(AppConfig):
    """Names the app."""

    name = "differencing"
    label = "differencing"
    default_auto_field = "django.db.models.BigAutoField"
