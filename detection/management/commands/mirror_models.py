"""`manage.py mirror_models`: bring MLflow up to date with the table of models."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from astrid_site.core.errors import TransientError
from detection.services.mirror import mirror_models


class Command(BaseCommand):
    """Register what is missing in MLflow and set its aliases."""

    help = (
        "Register every model in MLflow (ASTRID_MLFLOW_URI; by default a database below "
        "ASTRID_DATA_DIR) and set the aliases champion, challenger and shadow. A worker does so "
        "whenever a model's part changes."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Mirror, and say which version plays which part."""
        try:
            aliases = mirror_models(lambda done, says: self.stderr.write(says))
        except TransientError as error:
            raise CommandError(str(error)) from error
        for role, version in aliases.items():
            self.stdout.write(f"{role}: version {version}")
