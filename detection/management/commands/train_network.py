"""`manage.py train_network real_bogus`: train the shipped network on a data set of triplets."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Train, calibrate on held-out groups, write weights; needs no database."""

    help = (
        "Train a network on a data set of `manage.py build_triplets`. Goes on where an earlier "
        "run in the same --work folder stopped, with the same result; each member's metrics by "
        "epoch are in its memberN.json there."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Network, data, folders and length."""
        parser.add_argument("network", choices=["real_bogus"])
        parser.add_argument("--dataset", type=Path, required=True, help="folder of the data set")
        parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
        parser.add_argument(
            "--output", type=Path, help="safetensors file to write (default: the shipped weights)"
        )
        parser.add_argument("--epochs", type=int, default=7, help="at most (default 7)")
        parser.add_argument(
            "--alert-epochs",
            type=int,
            default=16,
            help="with real alerts at the end (default 16; 0 for none)",
        )
        parser.add_argument("--members", type=int, default=4, help="default 4")
        parser.add_argument(
            "--start",
            type=Path,
            help="weights to go on from at half the rate (of a training with --alert-epochs 0, or "
            "simulated_only.safetensors in its --work)",
        )
        parser.add_argument("--seed", type=int, default=1, help="default 1")

    def handle(self, *args: Any, **options: Any) -> None:
        """Train; a line for each epoch."""
        # torch loads here only: Django imports this module to list the commands
        from detection.networks.real_bogus_weights import WEIGHTS_FILE
        from detection.training.real_bogus_ensemble import make_plan, train_and_save

        for name in ("epochs", "members"):
            if options[name] < 1:
                msg = f"--{name} must be at least 1, got {options[name]}"
                raise CommandError(msg)
        output = options["output"] or WEIGHTS_FILE
        try:
            plan = make_plan(
                seed=options["seed"],
                epochs=options["epochs"],
                alert_epochs=options["alert_epochs"],
                n_members=options["members"],
                start=options["start"],
            )
            digest = train_and_save(
                options["dataset"],
                plan=plan,
                folder=options["work"],
                output=output,
                start=options["start"],
                progress=self.stderr.write,
            )
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"weights {digest[:12]}, {plan.n_members} members; wrote {output}")
