"""Configuration of the accounts app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Names the app."""

    name = "astrid_site.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
