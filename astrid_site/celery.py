"""Entry point of workers and beat: ``celery --app astrid_site worker``."""

# ruff: noqa: E402 - the thread counts must be set before anything heavy is imported
from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "astrid_site.settings")

from django.conf import settings

# Before anything loads numpy: its thread pools read these once.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = str(settings.WORKER_THREADS)

import django
from celery import signals
from celery.concurrency import prefork

from astrid_site.core.processes import die_with_parent

django.setup()

from astrid_site.core import heartbeats, upkeep
from astrid_site.core.tasking import app, prepare_broker_folder

__all__ = ["app"]


def _prepare_worker(**_: Any) -> None:
    prepare_broker_folder()
    # The sweeper may live in another container and then sees another temporary folder.
    upkeep.tidy()


def _tie_child(**_: Any) -> None:
    die_with_parent()
    upkeep.tidy()


def _start_heart(sender: Any, **_: Any) -> None:
    """Beat from the event loop where the worker forks, from a thread where it works itself.

    A fork must find neither a second thread nor an open connection; a worker that does its
    jobs in the main thread has no loop that would turn meanwhile.
    """
    if issubclass(sender.controller.pool_cls, prefork.TaskPool):
        arguments = ("worker", sender.hostname)
        heartbeats.beat_and_close(*arguments)
        sender.timer.call_repeatedly(heartbeats.EVERY_S, heartbeats.beat_and_close, arguments)
    else:
        heartbeats.beat_from_thread("worker", sender.hostname)


signals.worker_ready.connect(_start_heart, weak=False)
signals.celeryd_init.connect(_prepare_worker, weak=False)
# A pool child whose parent was killed would go on computing what another worker does again.
signals.worker_process_init.connect(_tie_child, weak=False)
