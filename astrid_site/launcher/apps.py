"""Configuration of the launcher, an app only for its commands."""

from django.apps import AppConfig


class LauncherConfig(AppConfig):
    """Has no tables."""

    name = "astrid_site.launcher"
    label = "launcher"
