"""Build the masters that calibration frames allow: ``manage.py build_masters``."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table

from observations.models import Survey
from preprocessing.models import Camera
from preprocessing.selectors import calibration_cameras
from preprocessing.services import BuildResult, build_masters

_COLOURS = {"built": "green", "known": "cyan", "would be built": "yellow", "failed": "red"}


class Command(BaseCommand):
    help = (
        "Combine bias, dark and flat frames to masters, and measure gain, read noise and linearity "
        "of their cameras. Repeating it changes nothing. "
        "Exit code: 0 all well, 1 some set could not be combined, 2 no calibration frame at all."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("--survey", help="name of the survey; all by default")
        parser.add_argument("--dry-run", action="store_true", help="look only, build nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Build and report."""
        cameras = calibration_cameras()
        if name := options["survey"]:
            if not Survey.objects.filter(name__iexact=name).exists():
                msg = f"there is no survey {name!r}"
                raise CommandError(msg, returncode=2)
            cameras = cameras.filter(survey__name__iexact=name)
        if not cameras:
            msg = "no calibration frames; send some with: manage.py ingest FOLDER"
            raise CommandError(msg, returncode=2)
        n_failed = 0
        for camera in cameras:
            results = build_masters(camera, dry_run=options["dry_run"])
            n_failed += sum(result.outcome == "failed" for result in results)
            if options["verbosity"] > 0:
                self.stdout.write(_report(camera, results))
        if n_failed:
            msg = f"{n_failed} sets of frames could not be combined"
            raise CommandError(msg, returncode=1)


def _report(camera: Camera, results: list[BuildResult]) -> str:
    """A table of the sets of one camera, and what its frames say of it."""
    table = Table(box=None, pad_edge=False)
    for column in ("Set", "Frames", "Outcome", "Noise", "Bad pixels", "Against the last"):
        table.add_column(column, overflow="fold")
    for result in results:
        row = result.master
        table.add_row(
            result.label,
            str(result.n_frames),
            f"[{_COLOURS[result.outcome]}]{result.outcome}[/] {result.reason}",
            f"{row.noise:.4g}" if row else "",
            str(row.n_bad) if row else "",
            row.get_verdict_display() if row else "",
        )
    console = Console()
    with console.capture() as captured:
        console.print(f"{camera.survey.name}: {camera}")
        console.print(table)
        if camera.gain is not None and camera.read_noise is not None:
            console.print(
                f"gain {camera.gain:.4g} +- {camera.gain_error or 0:.2g} e/adu, "
                f"read noise {camera.read_noise:.3g} e"
            )
        for warning in camera.warnings:
            console.print(f"[yellow]{warning}[/]", highlight=False)
    return captured.get()
