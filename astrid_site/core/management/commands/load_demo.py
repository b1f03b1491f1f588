"""Writes the simulated survey and takes it in."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

SURVEY = "Simulated sky"


def demo_folder() -> Path:
    """Where the simulated frames lie."""
    return Path(settings.DATA_DIR) / "simulated"


def is_loaded() -> bool:
    """Whether the demonstration was taken in completely before."""
    return (demo_folder() / ".loaded").is_file()


class Command(BaseCommand):
    """The night that is shown when there are no images yet."""

    help = "Write the simulated survey into the data folder and take it in."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the seed."""
        parser.add_argument("--seed", type=int, default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        """Simulate and ingest; both may be repeated after an interruption."""
        folder = demo_folder()
        folder.mkdir(parents=True, exist_ok=True)
        call_command("simulate_survey", str(folder), "--seed", str(options["seed"]))
        call_command("ingest", str(folder), "--survey", SURVEY)
        (folder / ".loaded").touch()
