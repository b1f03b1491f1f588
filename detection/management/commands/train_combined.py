"""`manage.py train_combined`: fit the shipped champion from feature model and network."""

from __future__ import annotations

import hashlib
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Fit and judge on pairs that neither part has learnt from; needs no database."""

    help = (
        "Combine feature model and network: fit on simulated pairs that neither has learnt from, "
        "judge on others and on real null pairs, and write combined.json."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Numbers of pairs and folders."""
        parser.add_argument("--pairs", type=int, default=14, help="of each kind (default 14)")
        parser.add_argument("--held-out", type=int, default=24, help="of each kind (default 24)")
        parser.add_argument("--network", type=Path, help="weights (default: the shipped ones)")
        parser.add_argument(
            "--test-data",
            type=Path,
            default=os.environ.get("ASTRID_TEST_DATA"),
            help="folder of real frames (default: ASTRID_TEST_DATA)",
        )
        parser.add_argument("--without-real", action="store_true", help="simulations only")
        parser.add_argument("--output", type=Path, help="default: the shipped file")

    def handle(self, *args: Any, **options: Any) -> None:
        """Fit and write; a line for each pair."""
        # torch loads here only: Django imports this module to list the commands
        from detection.management.commands.build_triplets import read_raw
        from detection.networks import combined, feature_model, real_bogus_weights
        from detection.training.combined_fit import CombinedPlan, train_combined

        folder: Path | None = None if options["without_real"] else options["test_data"]
        if not options["without_real"] and not (folder and Path(folder).is_dir()):
            msg = "--test-data: name the folder of real data, or say --without-real"
            raise CommandError(msg)
        if min(options["pairs"], options["held_out"]) < 1:
            msg = "--pairs and --held-out must be at least 1"
            raise CommandError(msg)
        network = options["network"] or real_bogus_weights.WEIGHTS_FILE
        files = (feature_model.WEIGHTS_FILE, network)
        first, second = (hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
        model = train_combined(
            CombinedPlan(n_pairs=options["pairs"], n_held_out=options["held_out"]),
            parts=(
                feature_model.FeatureModel.load(),
                real_bogus_weights.load_ensemble(network),
            ),
            hashes=(first, second),
            read_raw=(lambda name: read_raw(Path(folder) / name)) if folder else None,
            progress=self.stderr.write,
        )
        output = options["output"] or combined.WEIGHTS_FILE
        model.save(output)
        self.stdout.write(
            f"{model.feature_weight:.3f} of the features, {model.network_weight:.3f} of the "
            f"network, {model.intercept:+.3f}; wrote {output}"
        )
