"""Configuration of the preprocessing app."""

from django.apps import AppConfig


class PreprocessingConfig(AppConfig):
    """Names the app."""

    name = "preprocessing"
    label = "preprocessing"
    default_auto_field = "django.db.models.BigAutoField"
