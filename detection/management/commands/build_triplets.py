"""`manage.py build_triplets`: make the data set that the networks are trained on."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image


class Command(BaseCommand):
    """Simulate, subtract, cut out, label; needs no database."""

    help = (
        "Make labelled triplets: light simulation, the engine's own candidates on simulated skies "
        "and on real null pairs, real alerts. Writes shards and manifest.json; goes on where an "
        "earlier run stopped."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where, how many and from what."""
        parser.add_argument("--output", type=Path, required=True, help="folder of the data set")
        parser.add_argument("--light-skies", type=int, default=800, help="default 800")
        parser.add_argument("--engine-pairs", type=int, default=150, help="default 150")
        parser.add_argument("--seed", type=int, default=0, help="moves all seeds (default 0)")
        parser.add_argument(
            "--test-data",
            type=Path,
            default=os.environ.get("ASTRID_TEST_DATA"),
            help="folder of real frames and alerts (default: ASTRID_TEST_DATA)",
        )
        parser.add_argument("--without-real", action="store_true", help="simulations only")

    def handle(self, *args: Any, **options: Any) -> None:
        """Build; one line for each shard."""
        from detection.training.triplet_builder import DatasetPlan, build_dataset

        has_real = not options["without_real"]
        if min(options["light_skies"], options["engine_pairs"]) < 0:
            msg = "--light-skies and --engine-pairs must not be negative"
            raise CommandError(msg)
        if has_real and not (options["test_data"] and Path(options["test_data"]).is_dir()):
            msg = "--test-data: name the folder of real data, or say --without-real"
            raise CommandError(msg)
        manifest = build_dataset(
            options["output"],
            plan=DatasetPlan(
                n_light_skies=options["light_skies"],
                n_engine_pairs=options["engine_pairs"],
                seed=options["seed"],
                has_null_pairs=has_real,
                has_alerts=has_real,
            ),
            test_data=Path(options["test_data"]) if has_real else None,
            read_raw=read_raw,
            progress=self.stderr.write,
        )
        n_real, n_bogus = (
            sum(shard[name] for shard in manifest["shards"]) for name in ("n_real", "n_bogus")
        )
        self.stdout.write(
            f"data set {manifest['sha256'][:12]}: {n_real} real and {n_bogus} bogus triplets in "
            f"{len(manifest['shards'])} shards; wrote {options['output']}"
        )


def read_raw(path: Path) -> Image:
    """A frame with what its header says about the detector."""
    from astrid_site.imaging.fits_io import read_image
    from observations.algorithms.headers import read_metadata

    source = read_image(path)
    said = read_metadata(source.header, keywords=None, file_name=path.name)
    return source.image.with_(
        gain=said.gain,
        read_noise=said.read_noise,
        saturation=said.saturation,
        zero_point=said.zero_point,
        exposure_s=said.exposure_s,
    )
