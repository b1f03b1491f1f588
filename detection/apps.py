"""Configuration of the detection app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class DetectionConfig(AppConfig):
    """Keeps the table of models in step with the weights that AstrID ships."""

    name = "detection"
    label = "detection"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the one receiver that registers shipped weights."""
        from detection.services import adopt_shipped

        post_migrate.connect(adopt_shipped, sender=self, dispatch_uid="detection.adopt_shipped")
