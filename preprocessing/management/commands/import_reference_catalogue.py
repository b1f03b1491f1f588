"""Take in stars of known magnitude: ``manage.py import_reference_catalogue``."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from astrid_site.imaging.errors import AlgorithmError
from observations.models import Survey
from preprocessing.services import import_catalog, read_catalog


class Command(BaseCommand):
    help = (
        "Keep a table of reference stars (CSV, ECSV or FITS; ICRS degrees, AB magnitudes), against "
        "which every later frame of the survey is calibrated. Columns: ra, dec, mag_<band>, "
        "err_<band>, and color where no two bands make one; a file of the same name replaces the "
        "older one. Exit code: 0 taken in, 2 not usable."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("file", type=Path, help="the table")
        parser.add_argument("--survey", required=True, help="name of the survey")
        parser.add_argument(
            "--column",
            action="append",
            default=[],
            metavar="WHAT=NAME",
            help="a column that is called otherwise, e.g. mag_r=rPSFMag; may be repeated",
        )
        parser.add_argument("--dry-run", action="store_true", help="look only, keep nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, check, keep and report."""
        survey = Survey.objects.filter(name__iexact=options["survey"]).first()
        if survey is None:
            msg = f"there is no survey {options['survey']!r}"
            raise CommandError(msg, returncode=2)
        path: Path = options["file"]
        try:
            table = read_catalog(path, columns=_columns(options["column"]))
        except AlgorithmError as error:
            raise CommandError(error.message, returncode=2) from error
        names = table.dtype.names or ()
        bands = ", ".join(name.removeprefix("mag_") for name in names if name.startswith("mag_"))
        said = f"{len(table)} stars with magnitudes in {bands}"
        if options["dry_run"]:
            self.stdout.write(f"{path.name}: {said}; nothing was kept")
            return
        _, is_new = import_catalog(path, survey, table=table)
        self.stdout.write(f"{path.name}: {said}, {'taken in' if is_new else 'known already'}")


def _columns(told: list[str]) -> dict[str, str]:
    """What the columns of the file are called, as the command line says."""
    pairs = [text.partition("=") for text in told]
    for what, _, name in pairs:
        if not what or not name:
            msg = f"--column {what}: must be WHAT=NAME, e.g. mag_r=rPSFMag"
            raise CommandError(msg, returncode=2)
    return {what: name for what, _, name in pairs}
