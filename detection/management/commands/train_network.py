"""`manage.py train_network real_bogus|unet`: train the networks that AstrID ships."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Train, calibrate on held-out groups, write weights; needs no database."""

    help = (
        "Train a network: real_bogus on a data set of `manage.py build_triplets`, unet on "
        "simulated nights that it makes in --work. Goes on where an earlier run in the same "
        "--work folder stopped, with the same result; metrics by epoch are in the JSON logs there."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Network, data, folders and length."""
        parser.add_argument("network", choices=["real_bogus", "unet"])
        parser.add_argument("--dataset", type=Path, help="folder of the data set (real_bogus)")
        parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
        parser.add_argument(
            "--output", type=Path, help="safetensors file to write (default: the shipped weights)"
        )
        parser.add_argument("--epochs", type=int, help="at most (default 7; unet 10)")
        parser.add_argument("--scenes", type=int, default=120, help="nights of unet (default 120)")
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
        for name in ("epochs", "members", "scenes"):
            if options[name] is not None and options[name] < 1:
                msg = f"--{name} must be at least 1, got {options[name]}"
                raise CommandError(msg)
        try:
            if options["network"] == "unet":
                self._train_unet(options)
            else:
                self._train_real_bogus(options)
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _train_unet(self, options: dict[str, Any]) -> None:
        # torch loads here only: Django imports this module to list the commands
        from detection.networks.unet_weights import WEIGHTS_FILE
        from detection.training.unet_training import UNetPlan, train_and_save_unet

        plan = UNetPlan(
            n_scenes=options["scenes"], seed=options["seed"], epochs=options["epochs"] or 10
        )
        output = options["output"] or WEIGHTS_FILE
        digest = train_and_save_unet(
            plan, folder=options["work"], output=output, progress=self.stderr.write
        )
        self.stdout.write(f"weights {digest[:12]}, {plan.n_scenes} nights; wrote {output}")

    def _train_real_bogus(self, options: dict[str, Any]) -> None:
        from detection.networks.real_bogus_weights import WEIGHTS_FILE
        from detection.training.real_bogus_ensemble import make_plan, train_and_save

        if options["dataset"] is None:
            msg = "--dataset: name a folder that `manage.py build_triplets` made"
            raise CommandError(msg)
        plan = make_plan(
            seed=options["seed"],
            epochs=options["epochs"] or 7,
            alert_epochs=options["alert_epochs"],
            n_members=options["members"],
            start=options["start"],
        )
        output = options["output"] or WEIGHTS_FILE
        digest = train_and_save(
            options["dataset"],
            plan=plan,
            folder=options["work"],
            output=output,
            start=options["start"],
            progress=self.stderr.write,
        )
        self.stdout.write(f"weights {digest[:12]}, {plan.n_members} members; wrote {output}")
