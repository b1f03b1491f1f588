"""Take in a list of known things of the sky: ``manage.py import_context_list``."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from astrid_site.imaging.errors import AlgorithmError
from catalog.models import ContextList
from catalog.services.context_lists import ListFacts, import_context_list, read_context_list

_EXIT_BAD_INPUT = 2
_MATCH_ARCSEC = 1.5


class Command(BaseCommand):
    help = (
        "Keep a list of known things (CSV, ECSV, FITS or VOTable; ICRS degrees), against which "
        "objects are matched. Columns: ra, dec, pm_ra, pm_dec [mas/yr], magnitude, radius_arcsec, "
        "axis_ratio, angle_deg, redshift, key, type; Gaia's names are known. A file of the same "
        "name and kind replaces the older one. Exit code: 0 taken in, 2 not usable."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("file", type=Path, help="the table")
        parser.add_argument("--kind", required=True, choices=ContextList.Kind.values)
        parser.add_argument("--name", help="what pages call it; the file's name unless told")
        parser.add_argument(
            "--epoch", type=float, default=2000.0, help="of the positions [Julian year]"
        )
        parser.add_argument(
            "--match-arcsec",
            type=float,
            default=_MATCH_ARCSEC,
            help="what is nearer than this is the same thing",
        )
        parser.add_argument(
            "--whole-sky",
            action="store_true",
            help="it covers the whole sky, also where it has no rows",
        )
        parser.add_argument(
            "--column",
            action="append",
            default=[],
            metavar="WHAT=NAME",
            help="a column that is called otherwise, e.g. magnitude=rPSFMag; may be repeated",
        )
        parser.add_argument("--dry-run", action="store_true", help="look only, keep nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, check, keep and report."""
        path: Path = options["file"]
        if not options["match_arcsec"] > 0:
            msg = "--match-arcsec: must be positive"
            raise CommandError(msg, returncode=_EXIT_BAD_INPUT)
        try:
            read = read_context_list(
                path, epoch=options["epoch"], columns=_columns(options["column"])
            )
        except AlgorithmError as error:
            raise CommandError(error.message, returncode=_EXIT_BAD_INPUT) from error
        facts = ListFacts(
            kind=options["kind"],
            name=options["name"] or path.name,
            epoch=options["epoch"],
            match_arcsec=options["match_arcsec"],
            is_whole_sky=options["whole_sky"],
        )
        label = ContextList.Kind(facts.kind).label
        said = f"{len(read.rows)} {label} in {len(read.cells)} cells of the sky"
        said += f", {read.n_dropped} rows without a place left out" if read.n_dropped else ""
        if options["dry_run"]:
            self.stdout.write(f"{path.name}: {said}; nothing was kept")
            return
        _, is_new = import_context_list(read, facts)
        self.stdout.write(f"{path.name}: {said}, {'taken in' if is_new else 'known already'}")


def _columns(told: list[str]) -> dict[str, str]:
    """What the columns of the file are called, as the command line says."""
    pairs = [text.partition("=") for text in told]
    for what, _, name in pairs:
        if not what or not name:
            msg = f"--column {what}: must be WHAT=NAME, e.g. magnitude=rPSFMag"
            raise CommandError(msg, returncode=_EXIT_BAD_INPUT)
    return {what: name for what, _, name in pairs}
