"""Write a simulated survey: ``manage.py simulate_survey DIR``. Needs no database."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Command(BaseCommand):
    help = (
        "Write exposures of a simulated sky (FITS) with supernovae, variable stars and asteroids, "
        "and the table of what was put in. The same settings give the same bytes."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, help="folder to write; made if absent")
        parser.add_argument("--seed", type=int, default=1, help="everything follows from it")
        parser.add_argument("--fields", type=int, default=3, help="number of fields")
        parser.add_argument("--epochs", type=int, default=6, help="exposures of each field")
        parser.add_argument(
            "--templates", type=int, default=2, help="first epochs, before every explosion"
        )
        parser.add_argument("--size", type=int, default=1024, help="pixels along each side")
        parser.add_argument("--supernovae", type=int, default=10, help="supernovae in each field")
        parser.add_argument("--variables", type=int, default=5, help="variables in each field")
        parser.add_argument(
            "--asteroids",
            type=int,
            default=3,
            help="new asteroids in each exposure after the templates",
        )
        parser.add_argument("--stars", type=float, default=600.0, help="stars per million pixels")

    def handle(self, *args: Any, **options: Any) -> None:
        # imported here: astropy is slow to load, and other commands must not wait for it
        from astrid_site.imaging.simulation import SkyConfig, write_survey

        try:
            config = SkyConfig(
                seed=options["seed"],
                n_fields=options["fields"],
                n_epochs=options["epochs"],
                n_template_epochs=options["templates"],
                shape=(options["size"], options["size"]),
                supernovae_per_field=options["supernovae"],
                variables_per_field=options["variables"],
                asteroids_per_field=options["asteroids"],
                star_density_per_mpix=options["stars"],
            )
            with _progress_bar(quiet=options["verbosity"] == 0) as bar:
                task = bar.add_task("Exposing the simulated sky", total=None)
                truth = write_survey(
                    config,
                    options["directory"],
                    progress=lambda done, total: bar.update(task, completed=done, total=total),
                )
        except (ValueError, OSError) as problem:
            raise CommandError(str(problem)) from problem
        if options["verbosity"] > 0:
            self.stdout.write(
                f"{config.n_fields * config.n_epochs} simulated exposures of {config.n_fields} "
                f"fields are in {options['directory']}; what was put in: {truth}"
            )


def _progress_bar(*, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
