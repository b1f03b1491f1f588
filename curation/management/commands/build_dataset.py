"""`manage.py build_dataset`: the next version of a data set, of verdicts, files, simulations."""

from __future__ import annotations

import hashlib
import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from astrid_site import datasets as composition
from astrid_site.core.errors import ApplicationError
from astrid_site.core.storage import local_copy
from detection.models import DataSet
from detection.services import datasets


class Command(BaseCommand):
    """Gather, judge, split, prove, keep."""

    help = (
        "Make the next version of a data set. Every sample is listed with where it comes from; "
        "what is left out, with its reasons; objects, sky cells and nights lie on one side each. "
        "The same inputs give the same digest, and no second version. Refused where anything "
        "leaks from side to side."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Name, sources, rules."""
        parser.add_argument("name", nargs="?", default=composition.DEFAULT_NAME)
        parser.add_argument("--verdicts", action="store_true", help="what people say of candidates")
        parser.add_argument("--skies", type=int, default=0, help="simulated skies of 24 samples")
        parser.add_argument("--seed", type=int, default=0, help="of the skies (default 0)")
        parser.add_argument(
            "--npz", type=Path, action="append", default=[], help="labelled triplets; repeatable"
        )
        parser.add_argument(
            "--triplets", type=Path, action="append", default=[], help="folder of build_triplets"
        )
        parser.add_argument(
            "--alerts", type=Path, action="append", default=[], help="Avro file or folder of them"
        )
        parser.add_argument("--labels", type=Path, help="CSV with candid (diaSourceId) and label")
        parser.add_argument(
            "--strict", action="store_true", help="keep nights together whatever is left"
        )
        for name, words in _RULES.items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=float, help=words)
        parser.add_argument("--export", type=Path, help="ZIP to write the data set to")
        parser.add_argument(
            "--dvc", action="store_true", help="write ZIP.dvc beside it, for `dvc commit`"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Build; one line at the end."""
        if bool(options["alerts"]) != bool(options["labels"]):
            msg = "--alerts and --labels belong together: an alert does not say what it is"
            raise CommandError(msg)
        if options["dvc"] and not options["export"]:
            msg = "--dvc needs --export"
            raise CommandError(msg)
        try:
            dataset, is_new = self._build(options)
        except (OSError, ValueError, ApplicationError) as error:
            raise CommandError(str(error)) from error
        counts = dataset.counts
        self.stdout.write(
            f"{dataset}: {counts['n_real']} real and {counts['n_bogus']} bogus, "
            f"{counts['n_left_out']} left out, digest {dataset.digest[:12]}, id {dataset.pk}"
            + ("" if is_new else "; nothing is new")
        )
        if options["export"]:
            self._export(dataset, options["export"], has_dvc=options["dvc"])

    def _build(self, options: dict[str, Any]) -> tuple[DataSet, bool]:
        parameters: dict[str, Any] = {
            "verdicts": options["verdicts"],
            "skies": options["skies"],
            "seed": options["seed"],
            "is_strict": options["strict"],
            "rules": {name: options[name] for name in _RULES if options[name] is not None},
            "files": [path.name for kind in _FILES for path in options[kind]],
        }
        dataset = DataSet(name=options["name"], parameters=parameters)
        cutouts = composition.gather(parameters, progress=self._say, more=_from_files(options))
        built = datasets.build(
            dataset, cutouts, rules=datasets.rules_of(parameters), progress=self._say
        )
        if (same := datasets.same_version(dataset, built.digest)) is not None:
            return same, False
        with transaction.atomic():
            datasets.save_built(dataset, built)
        return dataset, True

    def _say(self, share: float, words: str) -> None:
        self.stderr.write(f"{100 * share:3.0f} % {words}")

    def _export(self, dataset: DataSet, path: Path, *, has_dvc: bool) -> None:
        if dataset.file is None:
            msg = f"{dataset} holds nothing"
            raise CommandError(msg)
        with local_copy(dataset.file) as stored:
            shutil.copyfile(stored, path)
        self.stdout.write(f"wrote {path}")
        if has_dvc:
            pointer = path.with_name(f"{path.name}.dvc")
            pointer.write_text(dvc_pointer(path), encoding="utf-8")
            self.stdout.write(f"wrote {pointer}")


#: Options of the quality rules, by their names there.
_RULES = {
    "min_std": "least standard deviation of a plane shown from 0 to 1 (default 0.02)",
    "max_near_black": "largest share of pixels below 0.05 or missing (default 0.4)",
    "max_centre_blank": "the same in the middle 11x11 (default 0.5)",
    "max_plane_range": "largest gradient in standard deviations (default 2)",
}
_FILES = ("npz", "triplets", "alerts")


def _from_files(options: dict[str, Any]) -> list[Any]:
    """Labelled cutouts of every file that was named."""
    from detection.training.dataset_sources import (
        read_alert_files,
        read_labels,
        read_npz,
        read_triplet_folder,
    )

    parts = [read_npz(path) for path in options["npz"]]
    parts += [read_triplet_folder(path) for path in options["triplets"]]
    if options["alerts"]:
        parts.append(read_alert_files(options["alerts"], labels=read_labels(options["labels"])))
    return parts


def dvc_pointer(path: Path) -> str:
    """What `dvc add` would write of a file: `dvc commit` then takes it into its cache."""

    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return (
        f"outs:\n- md5: {digest}\n  size: {path.stat().st_size}\n  hash: md5\n  path: {path.name}\n"
    )
