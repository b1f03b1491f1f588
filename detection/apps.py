"""Configuration of the detection app."""

from django.apps import AppConfig


class DetectionConfig(AppConfig):
    """Names the app."""

    name = "detection"
    label = "detection"
    default_auto_field = "django.db.models.BigAutoField"
