"""Put sources into raw frames and tell what share the whole pipeline gives back."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError

from detection.services.campaign import Injected, as_rows, frames_to_inject, run_rounds
from observations.models import Survey

_STEP_MAG = 0.5
_HOST_EDGES = (0.0, 1.0, 3.0, 10.0, float("inf"))


class Command(BaseCommand):
    """manage.py run_campaign."""

    help = "Inject sources into raw frames of searched observations; completeness of every stage."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which frames, how often, and where the outcomes go."""
        parser.add_argument("--survey", help="name or slug; all surveys otherwise")
        parser.add_argument("--frames", type=int, default=4, help="the newest so many (4)")
        parser.add_argument("--rounds", type=int, default=2, help="injections into each frame (2)")
        parser.add_argument("--seed", type=int, default=1, help="of places and magnitudes (1)")
        parser.add_argument("--output", type=Path, help="JSON of every source and its outcome")

    def handle(self, *args: Any, **options: Any) -> None:
        """Inject, recover, tell."""
        runs = frames_to_inject(_survey(options["survey"]))[: max(options["frames"], 1)]
        found: list[Injected] = []
        for run, told in run_rounds(
            list(runs), n_rounds=max(options["rounds"], 1), seed=options["seed"]
        ):
            if isinstance(told, Exception):
                self.stderr.write(f"{run.observation.observation_id}: {told}")
                continue
            found += told
            n = sum(each.is_recovered for each in told)
            self.stdout.write(f"{run.observation.observation_id}: {n} of {len(told)} recovered")
        if not found:
            msg = "no source was put in: no searched frame has a zero point and raw pixels to use"
            raise CommandError(msg)
        if options["output"]:
            options["output"].write_text(json.dumps(as_rows(found), indent=1), encoding="utf-8")
        for line in _tables(found):
            self.stdout.write(line)


def _survey(name: str | None) -> Survey | None:
    if name is None:
        return None
    survey = Survey.objects.filter(name=name).first() or Survey.objects.filter(slug=name).first()
    if survey is None:
        msg = f"there is no survey {name!r}"
        raise CommandError(msg)
    return survey


def _tables(found: Sequence[Injected]) -> list[str]:
    """Completeness by survey and band, against magnitude and distance to a galaxy."""
    lines = []
    for survey, band in sorted({(each.survey, each.band) for each in found}):
        rows = [each for each in found if (each.survey, each.band) == (survey, band)]
        lines.append(f"\n{survey}, {band}: completeness (95 % interval) against magnitude")
        values = np.array([each.magnitude for each in rows])
        low = np.floor(values.min() / _STEP_MAG) * _STEP_MAG
        edges = np.arange(low, values.max() + _STEP_MAG, _STEP_MAG).tolist()
        lines += _lines(values, rows, edges, unit="mag")
        lines.append("against distance to the nearest galaxy")
        hosts = np.array([np.nan if e.host_fwhm is None else e.host_fwhm for e in rows])
        lines += _lines(hosts, rows, _HOST_EDGES, unit="FWHM")
    lost = Counter(each.outcome for each in found)
    lines.append("\nwhat became of them: " + ", ".join(f"{k} {n}" for k, n in lost.most_common()))
    return lines


def _lines(
    values: np.ndarray, rows: Sequence[Injected], edges: Sequence[float], *, unit: str
) -> list[str]:
    from detection.training.recovery import completeness

    is_found = np.array([each.is_recovered for each in rows], dtype=bool)
    return [
        f"  {part.low:6.2f} to {part.high:6.2f} {unit}: {part.share.value:5.2f} "
        f"({part.share.low:.2f} to {part.share.high:.2f}), {part.n_found} of {part.n}"
        for part in completeness(values, is_found, edges)
    ]
