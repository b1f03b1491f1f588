"""`manage.py evaluate_network real_bogus`: judge the shipped network and write its model card."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Held-out simulations, real alerts unseen and by grouped folds; needs no database."""

    help = (
        "Judge a network on the held-out part of the data set it was trained on, and write the "
        "figures as JSON beside the weights and as a model card. --work is the folder of the "
        "training; goes on there where an earlier run stopped."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Network, data, folders."""
        parser.add_argument("network", choices=["real_bogus"])
        parser.add_argument("--dataset", type=Path, required=True, help="folder of the data set")
        parser.add_argument("--work", type=Path, required=True, help="folder of the training")
        parser.add_argument("--weights", type=Path, help="default: the shipped weights")
        parser.add_argument(
            "--output",
            type=Path,
            default=Path(settings.BASE_DIR) / "docs" / "models",
            help="folder for the card, real_bogus.md (default docs/models)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Judge and write."""
        # torch loads here only: Django imports this module to list the commands
        from detection.networks.real_bogus import RealBogusNetwork
        from detection.networks.real_bogus_weights import WEIGHTS_FILE, read_record, report_path
        from detection.training.real_bogus_card import write_card
        from detection.training.real_bogus_ensemble import SIMULATED_ONLY, plan_of
        from detection.training.real_bogus_evaluation import evaluate

        weights, work, output = (
            options["weights"] or WEIGHTS_FILE,
            options["work"],
            options["output"],
        )
        try:
            about = read_record(weights)
            report = evaluate(
                options["dataset"],
                weights=weights,
                simulated_only=work / SIMULATED_ONLY,
                plan=plan_of(about["record"]),
                folder=work / "folds",
                progress=self.stderr.write,
            )
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        output.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report, indent=1, sort_keys=True) + "\n"
        report_path(weights).write_text(text, encoding="utf-8")
        n_parameters = sum(p.numel() for p in RealBogusNetwork().parameters())
        card = write_card(report, about=about, n_parameters=n_parameters)
        (output / "real_bogus.md").write_text(card, encoding="utf-8")
        self.stdout.write(f"wrote {report_path(weights)} and {output / 'real_bogus.md'}")
