"""Work the queue off in this process: ``manage.py run_pipeline``. Needs no broker and no worker."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from astrid_site.core import jobs
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from observations.services.queue import next_due, seconds_to_next


class Command(BaseCommand):
    help = "Run every queued job, one after the other, until none is left."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument(
            "--max-wait", type=float, default=60.0, help="longest wait for a job not yet due [s]"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until the ledger is empty."""
        waited, done = 0.0, 0
        while True:
            job_id = next_due()
            if job_id is not None:
                jobs.run(job_id)
                waited, done = 0.0, done + 1
                continue
            wait = seconds_to_next()
            if wait is None:
                break
            if waited + wait > options["max_wait"]:
                left = Job.objects.filter(state=JobState.QUEUED).count()
                msg = f"{left} jobs are queued, the next one is due in {wait:.0f} s"
                raise CommandError(msg)
            time.sleep(wait)
            waited += wait
        failed = Job.objects.filter(state=JobState.FAILED).count()
        self.stdout.write(f"{done} job runs; {failed} jobs failed so far")
