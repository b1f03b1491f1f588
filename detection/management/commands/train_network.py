"""`manage.py train_network real_bogus|unet`: train the networks that AstrID ships."""

from __future__ import annotations

import re
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from astrid_site.core.errors import ApplicationError
from detection.models import DataSet

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOOK_EVERY_S = 1.0


class Command(BaseCommand):
    """Train, calibrate on held-out groups, write weights; of a folder it needs no database."""

    help = (
        "Train a network: real_bogus on a data set of `manage.py build_triplets`, unet on "
        "simulated nights that it makes in --work. Goes on where an earlier run in the same "
        "--work folder stopped, with the same result; metrics by epoch are in the JSON logs there. "
        "Given a data set of the page Data sets, real_bogus goes on from the network in service "
        "and registers what comes of it; a worker goes on with it should this process die."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Network, data, folders and length."""
        parser.add_argument("network", choices=["real_bogus", "unet"])
        parser.add_argument(
            "--dataset",
            help="real_bogus: folder of build_triplets; or id or NAME[@VERSION] of a data set",
        )
        parser.add_argument("--work", type=Path, help="folder for checkpoints, with a folder")
        parser.add_argument(
            "--output", type=Path, help="safetensors file to write (default: the shipped weights)"
        )
        parser.add_argument("--epochs", type=int, help="at most (default 7; unet 14)")
        parser.add_argument("--scenes", type=int, default=80, help="nights of unet (default 80)")
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
        is_folder = options["dataset"] is None or Path(options["dataset"]).is_dir()
        if is_folder and options["work"] is None:
            msg = "--work: name a folder for checkpoints"
            raise CommandError(msg)
        try:
            if options["network"] == "unet":
                self._train_unet(options)
            elif not is_folder:
                self._train_on(options["dataset"], options)
            else:
                self._train_real_bogus(options)
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _train_unet(self, options: dict[str, Any]) -> None:
        # torch loads here only: Django imports this module to list the commands
        from detection.networks.unet_weights import WEIGHTS_FILE
        from detection.training.unet_training import UNetPlan, train_and_save_unet

        plan = UNetPlan(
            n_scenes=options["scenes"], seed=options["seed"], epochs=options["epochs"] or 14
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
            msg = "--dataset: name a folder that `manage.py build_triplets` made, or a data set"
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
            Path(options["dataset"]),
            plan=plan,
            folder=options["work"],
            output=output,
            start=options["start"],
            progress=self.stderr.write,
        )
        self.stdout.write(f"weights {digest[:12]}, {plan.n_members} members; wrote {output}")

    def _train_on(self, name: str, options: dict[str, Any]) -> None:
        """Train as work of the ledger, here unless a worker is faster."""
        from astrid_site.core import jobs
        from astrid_site.core.status import TERMINAL_JOBS
        from detection.services import request_training
        from detection.services.training import job_of

        parameters = {"seed": options["seed"]}
        if options["epochs"] is not None:
            parameters["epochs"] = options["epochs"]
        try:
            run = request_training(find_dataset(name), None, parameters=parameters)
        except ApplicationError as error:
            raise CommandError(str(error)) from error
        job = job_of(run)
        if job is None:
            msg = "the training was not queued"
            raise CommandError(msg)
        self.stderr.write(f"training {run.pk} on {run.dataset}, from {run.start}")
        jobs.run(job.pk)
        job.refresh_from_db()
        while job.state not in TERMINAL_JOBS:
            time.sleep(_LOOK_EVERY_S)
            job.refresh_from_db()
        run.refresh_from_db()
        if run.model is None:
            msg = f"{job.state}: {job.cause}"
            raise CommandError(msg)
        figure = run.model.report["held_out"]["all"]["auc_pr"]["value"]
        self.stdout.write(f"{run.model}: {run.model.role}, AUCPR {figure} on the test side")


def find_dataset(name: str) -> DataSet:
    """A data set by its id, its name, or its name and version (NAME@VERSION).

    Raises
    ------
    CommandError
        If there is none.
    """
    called, _, version = name.partition("@")
    rows = DataSet.objects.filter(version__isnull=False)
    if _ID.fullmatch(name):
        found = rows.filter(pk=name).first()
    elif version:
        found = rows.filter(name=called, version=version).first() if version.isdigit() else None
    else:
        found = rows.filter(name=called).order_by("-version").first()
    if found is None:
        msg = f"--dataset {name}: neither a folder nor a data set; see the page Data sets"
        raise CommandError(msg)
    return found
