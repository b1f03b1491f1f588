"""Take files and folders in: ``manage.py ingest PATH...``."""

from __future__ import annotations

import csv
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from astrid_site.core.errors import ApplicationError
from observations.models import Survey
from observations.services import IngestResult, ingest_file
from observations.services.folders import (
    Candidate,
    find_ignored,
    gather,
    held_back,
    survey_for,
)

_COLOURS = {"created": "green", "updated": "cyan", "duplicate": "yellow", "refused": "red"}
_NO_IMAGE_NAME = "not an image name"
#: How observers call calibration frames; what a frame is, its header alone decides.
_CALIBRATION_NAME = re.compile(r"bias|zero|dark|flat", re.IGNORECASE)


class Command(BaseCommand):
    help = (
        "Take FITS files (and folders of them, at any depth) in. Repeating it changes nothing. "
        "A table sidecar.csv beside the files corrects headers that lie or are silent; a corrected "
        "table corrects frames that are here already. "
        "Exit code: 0 all well, 1 some file was refused, 2 nothing usable."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--survey", help="survey of the files; their folder's name by default")
        parser.add_argument("--sidecar", type=Path, help="table of what headers should say")
        parser.add_argument("--dry-run", action="store_true", help="look only, store nothing")
        parser.add_argument("--report", type=Path, help="write the outcome of every file (CSV)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ingest and report."""
        try:
            candidates = gather(options["paths"], sidecar=options["sidecar"])
            ignored = find_ignored(options["paths"], sidecar=options["sidecar"])
            results = _ingest_all(
                candidates, survey_name=options["survey"], dry_run=options["dry_run"],
                quiet=options["verbosity"] == 0,
            )  # fmt: skip
        except ApplicationError as error:
            raise CommandError(str(error), returncode=2) from error
        except (OperationalError, ProgrammingError) as error:
            msg = f"the database does not answer or lacks tables (manage.py migrate): {error}"
            raise CommandError(msg, returncode=2) from error
        if options["report"]:
            _write_report(options["report"], results, ignored)
        if options["verbosity"] > 0:
            self.stdout.write(_report(results))
            if ignored:
                names = "" if options["report"] else "; --report names them"
                self.stdout.write(f"{len(ignored)} ignored: {_NO_IMAGE_NAME}{names}")
        usable = sum(result.outcome != "refused" for result in results)
        if not usable:
            msg = "no usable file" if results else "no file at all"
            raise CommandError(msg, returncode=2)
        if usable < len(results):
            msg = f"{len(results) - usable} of {len(results)} files refused"
            raise CommandError(msg, returncode=1)


def _ingest_all(
    candidates: list[Candidate], *, survey_name: str | None, dry_run: bool, quiet: bool
) -> list[IngestResult]:
    surveys: dict[str, Survey] = {}
    results: dict[Path, IngestResult] = {}
    with _progress_bar(quiet=quiet) as bar:
        # masters first: an exposure that is there before them would be calibrated without
        ordered = sorted(candidates, key=lambda c: _CALIBRATION_NAME.search(c.path.name) is None)
        for candidate in bar.track(ordered, description="Taking frames in"):
            if candidate.companion_of:
                results[candidate.path] = held_back(candidate)
                continue
            name = survey_name or candidate.folder_name
            if name not in surveys:
                surveys[name] = survey_for(name, candidate.path.parent, dry_run=dry_run)
            results[candidate.path] = ingest_file(
                candidate.path,
                survey=surveys[name],
                file_name=candidate.path.name,
                overrides=candidate.overrides.values,
                companions=candidate.overrides.companions,
                dry_run=dry_run,
            )
    return [results[candidate.path] for candidate in candidates]


def _progress_bar(*, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )


def _report(results: list[IngestResult]) -> str:
    """A table of what became of every file, and the counts."""
    table = Table(box=None, pad_edge=False)
    for column in ("File", "Outcome", "Observation", "Reason"):
        table.add_column(column, overflow="fold")
    for result in results:
        name = result.observation.observation_id if result.observation else ""
        colour = _COLOURS[result.outcome]
        table.add_row(result.file_name, f"[{colour}]{result.outcome}", name, result.reason)
    counts = {key: sum(r.outcome == key for r in results) for key in _COLOURS}
    console = Console()
    with console.capture() as captured:
        console.print(table)
        console.print(", ".join(f"{count} {key}" for key, count in counts.items()))
    return captured.get()


def _write_report(path: Path, results: list[IngestResult], ignored: list[Path]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "outcome", "code", "observation", "observation_id", "reason"])
        for result in results:
            row = result.observation
            writer.writerow(
                [
                    result.file_name,
                    result.outcome,
                    result.code,
                    row.pk if row else "",
                    row.observation_id if row else "",
                    result.reason,
                ]
            )
        for file in ignored:
            writer.writerow([file.name, "ignored", "", "", "", _NO_IMAGE_NAME])
