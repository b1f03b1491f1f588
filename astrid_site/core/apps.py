"""Configuration of the core app."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Names the app."""

    name = "astrid_site.core"
    label = "core"
    default_auto_field = "django.db.models.BigAutoField"
