"""`manage.py train_feature_model`: simulate skies, fit the feature model, judge it on others."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from astrid_site.imaging.errors import AlgorithmError
from detection.networks.feature_model import NAME, WEIGHTS_FILE


class Command(BaseCommand):
    """Train the real-bogus feature model on simulated truth."""

    help = f"Train the {NAME}, and write weights and training record as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Seed, output file and sample sizes."""
        parser.add_argument("--seed", type=int, default=1, help="first seed of the simulations")
        parser.add_argument("--output", type=Path, default=WEIGHTS_FILE, help="JSON file to write")
        parser.add_argument(
            "--pairs", type=int, default=3, help="training pairs for each regime (default 3)"
        )
        parser.add_argument(
            "--held-out", type=int, default=1, help="pairs for each regime to judge on (default 1)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Train and write; one line of progress for each simulated pair."""
        # torch and scikit-learn load here only: the web start-up imports this module's package
        from detection.training.feature_training import TrainingPlan, train_feature_model

        for name in ("pairs", "held_out"):
            if options[name] < 1:
                msg = f"--{name.replace('_', '-')} must be at least 1, got {options[name]}"
                raise CommandError(msg)
        plan = TrainingPlan(
            seed=options["seed"], n_pairs=options["pairs"], n_held_out=options["held_out"]
        )
        try:
            model = train_feature_model(plan, progress=self.stdout.write)
        except AlgorithmError as error:
            raise CommandError(error.message) from error
        model.save(options["output"])
        metrics = model.record["held_out"]["all"]
        self.stdout.write(
            f"{model.version}: AUCPR {metrics['auc_pr']:.4f}, ROC AUC {metrics['roc_auc']:.4f} on "
            f"{metrics['n_real']} real and {metrics['n_bogus']} bogus held-out candidates; "
            f"wrote {options['output']}"
        )
