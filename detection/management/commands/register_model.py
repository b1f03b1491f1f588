"""`manage.py register_model`: take a trained network in, to score in the shadow."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from astrid_site.core.errors import ApplicationError
from detection.services import register_network


class Command(BaseCommand):
    """Register weights with their record and report."""

    help = (
        "Take weights of `manage.py train_network` in as a model. FILE.json beside them is their "
        "record, FILE.report.json, of `manage.py evaluate_network`, their figures. The model "
        "scores in the shadow; a person promotes it on its page."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The weights."""
        parser.add_argument("file", type=Path, help="safetensors file")

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify, keep, say what it is called."""
        path: Path = options["file"]
        report = path.with_suffix(".report.json")
        try:
            model = register_network(
                path.read_bytes(),
                about=json.loads(path.with_suffix(".json").read_text(encoding="utf-8")),
                report=json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {},
            )
        except (OSError, ValueError, ApplicationError) as error:
            raise CommandError(str(error)) from error
        figures = "" if model.report else "; without figures, so the gate stays shut"
        self.stdout.write(f"{model}: {model.role}{figures}")
