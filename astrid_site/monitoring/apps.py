"""Configuration of the monitoring app."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """Names the app."""

    name = "astrid_site.monitoring"
    label = "monitoring"
    default_auto_field = "django.db.models.BigAutoField"
