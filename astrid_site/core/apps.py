"""Configuration of the core app."""

from __future__ import annotations

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Names the app and registers what it checks at start-up."""

    name = "astrid_site.core"
    label = "core"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from astrid_site.core import checks  # noqa: F401 - registers itself
