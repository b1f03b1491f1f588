"""Configuration of the core app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CoreConfig(AppConfig):
    """Names the app and registers what it checks at start-up."""

    name = "astrid_site.core"
    label = "core"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and what follows a migration."""
        from astrid_site.core import checks  # noqa: F401 - registers itself

        post_migrate.connect(_make_cache_table, sender=self)


def _make_cache_table(using: str, **_kwargs: Any) -> None:
    """Make the table of a cache that lives in the database; throttles answer 503 without it."""
    from django.core.management import call_command

    call_command("createcachetable", database=using, verbosity=0)
