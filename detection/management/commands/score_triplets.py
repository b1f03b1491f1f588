"""`manage.py score_triplets`: real-bogus scores of triplets in an NPZ file, as CSV."""

from __future__ import annotations

import csv
import math
import os
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

if TYPE_CHECKING:
    from detection.networks.real_bogus import RealBogusEnsemble
    from detection.networks.triplet_files import TripletFile

COLUMNS = ("index", "score", "score_error")
_BATCH = 512
_PROGRESS_S = 5.0


class Command(BaseCommand):
    """Score triplets with the shipped network; needs no database."""

    help = (
        "Score triplets: FILE.npz holds an array 'triplets' of shape (N, 63, 63, 3), science, "
        "template, difference in any units, NaN where a pixel is missing. Writes CSV with the "
        "columns index, score (probability of being real) and score_error; both are empty where "
        "a triplet shows nothing."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Input, output and device."""
        parser.add_argument("file", type=Path, help="NPZ file with an array 'triplets'")
        parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
        parser.add_argument("--device", default="cpu", help="torch device (default cpu)")
        parser.add_argument("--weights", type=Path, help="other weights (safetensors)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Score batch by batch and write; the output appears only when it is whole."""
        # torch loads here only: Django imports this module to list the commands
        from detection.networks.real_bogus import one_thread
        from detection.networks.real_bogus_input import N_PLANES, SIZE
        from detection.networks.triplet_files import TripletFileError, open_triplets

        output: Path = options["output"]
        if not output.parent.is_dir():
            msg = f"--output {output}: the folder {output.parent} does not exist"
            raise CommandError(msg)
        try:
            triplets = open_triplets(options["file"], shape=(SIZE, SIZE, N_PLANES))
            ensemble = load(options["weights"], device=options["device"])
            with one_thread():
                n_empty = self._write(triplets, ensemble, output)
        except (TripletFileError, OSError, ValueError, RuntimeError) as error:
            raise CommandError(str(error)) from error
        if n_empty:
            self.stderr.write(
                f"{n_empty} of {len(triplets)} triplets have no score: neither science nor "
                "difference has a pixel with contrast in the middle"
            )
        self.stderr.write(f"wrote {len(triplets)} rows to {output}")

    def _write(self, triplets: TripletFile, ensemble: RealBogusEnsemble, output: Path) -> int:
        """Write through a draft beside the output; returns the number without a score."""
        n_empty = 0
        descriptor, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(COLUMNS)
                for index, score, error in self._scores(triplets, ensemble):
                    n_empty += math.isnan(score)
                    writer.writerow((index, text(score), text(error)))
            # a temporary file is for its owner alone; a result is not
            umask = os.umask(0)
            os.umask(umask)
            draft.chmod(0o666 & ~umask)
            draft.replace(output)
        finally:
            draft.unlink(missing_ok=True)
        return n_empty

    def _scores(
        self, triplets: TripletFile, ensemble: RealBogusEnsemble
    ) -> Iterator[tuple[int, float, float]]:
        """Index, score and error of every triplet, with progress on stderr."""
        from detection.networks.real_bogus import score_in_order

        n_threads = len(os.sched_getaffinity(0)) if ensemble.device == "cpu" else 1
        start = told = time.monotonic()
        index = 0
        batches = triplets.batches(_BATCH)
        for scores in score_in_order(ensemble, batches, n_threads=n_threads):
            for score, error in zip(scores.score, scores.score_error, strict=True):
                yield index, float(score), float(error)
                index += 1
            now = time.monotonic()
            if now - told > _PROGRESS_S:
                rate = index / (now - start)
                self.stderr.write(f"{index} of {len(triplets)} scored, {rate:.0f} a second")
                told = now


def load(weights: Path | None, *, device: str) -> RealBogusEnsemble:
    """The shipped network, or another, verified."""
    from detection.networks.real_bogus_weights import WEIGHTS_FILE, load_ensemble

    return load_ensemble(weights or WEIGHTS_FILE, device=device)


def text(value: float) -> str:
    """Six decimals, or nothing where there is no value."""
    return "" if math.isnan(value) else f"{value:.6f}"
