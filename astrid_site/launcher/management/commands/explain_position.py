"""Says why a place shows what it shows on every stored frame, or why it was missed."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from rest_framework.utils.encoders import JSONEncoder

from astrid_site.explaining import (
    DEFAULT_DAYS,
    MAX_FRAMES,
    FrameAnswer,
    Question,
    explain_position,
)
from catalog.forms import read_angle
from observations.models import Survey

_EXIT_BAD_INPUT = 2
_MARKS = {"passed": "+", "stopped": "x", "not reached": " "}


class Command(BaseCommand):
    """manage.py explain_position RA DEC [MJD] [--days N] [--survey NAME] [--json]."""

    help = "Why is it here, why was it missed: one place on every frame, stage by stage."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """A place, maybe a time, and how to answer."""
        parser.add_argument("ra", help="degrees, or hours as h:m:s")
        parser.add_argument("dec", help="degrees, or d:m:s; after -- where it begins with a minus")
        parser.add_argument("mjd", nargs="?", type=float, help="frames near this time; else all")
        parser.add_argument("--days", type=float, default=DEFAULT_DAYS, help="how near")
        parser.add_argument("--survey", help="name or slug: frames of one survey")
        parser.add_argument("--limit", type=int, default=MAX_FRAMES, help="at most so many frames")
        parser.add_argument("--json", action="store_true", help="as the REST interface answers")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Ask and print; bad input ends in one line and exit code 2."""
        answer = explain_position(_question(options))
        if options["json"]:
            from astrid_site.explaining.api import PositionAnswerOutput

            told = PositionAnswerOutput(answer).data
            self.stdout.write(json.dumps(told, cls=JSONEncoder, indent=2, allow_nan=False))
            return
        self.stdout.write(answer.summary)
        if answer.note:
            self.stdout.write(answer.note)
        for frame in answer.frames:
            self._write_frame(frame)
        if answer.n_beyond:
            self.stdout.write(f"\n{answer.n_beyond} further frames were not read (--limit).")

    def _write_frame(self, frame: FrameAnswer) -> None:
        row, said = frame.observation, frame.explanation
        when = "no date" if row.mid_mjd is None else f"MJD {row.mid_mjd:.5f}"
        self.stdout.write(f"\n{when}  {row.band or '-'}  {row.survey.name}  {row.observation_id}")
        self.stdout.write(f"  {said.sentence}")
        if said.change:
            self.stdout.write(f"  Would have changed it: {said.change}.")
        if frame.diagnosis and frame.diagnosis.words:
            self.stdout.write(f"  May be: {frame.diagnosis.words}.")
        for step in said.steps:
            self.stdout.write(f"  {_MARKS[step.state]} {step.title:<10} {step.words}".rstrip())


def _question(options: dict[str, Any]) -> Question:
    survey = None
    if options["survey"]:
        named = Q(slug=options["survey"]) | Q(name__iexact=options["survey"])
        survey = Survey.objects.filter(named).first()
        if survey is None:
            msg = f"there is no survey {options['survey']!r}"
            raise CommandError(msg, returncode=_EXIT_BAD_INPUT)
    try:
        ra = read_angle(options["ra"], is_hours=True)
        dec = read_angle(options["dec"], is_hours=False)
    except ValueError as error:
        raise CommandError(str(error), returncode=_EXIT_BAD_INPUT) from error
    if not (0.0 <= ra <= 360.0 and -90.0 <= dec <= 90.0):
        msg = f"RA {ra:g}, Dec {dec:g} is no place on the sky"
        raise CommandError(msg, returncode=_EXIT_BAD_INPUT)
    if options["limit"] < 1 or not options["days"] >= 0:
        msg = "--limit must be at least 1, --days not negative"
        raise CommandError(msg, returncode=_EXIT_BAD_INPUT)
    return Question(
        ra % 360.0,
        dec,
        mjd=options["mjd"],
        days=options["days"],
        survey=survey,
        limit=options["limit"],
    )
