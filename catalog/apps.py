"""Configuration of the catalog app."""

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """Names the app."""

    name = "catalog"
    label = "catalog"
    default_auto_field = "django.db.models.BigAutoField"
