"""The door-bell: Celery carries job numbers to workers and nothing else."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from celery import Celery
from django.conf import settings

logger = logging.getLogger(__name__)

RUN_JOB = "astrid.run_job"
SWEEP = "astrid.sweep"
SWEEP_QUEUE = "sweep"
RING_PATIENCE_S = 1.0
RING_REST_S = 5.0
_silent_until = 0.0


def is_embedded() -> bool:
    """Whether messages go through a folder instead of a server."""
    return str(settings.BROKER_URL).startswith("filesystem://")


def _transport_options() -> dict[str, Any]:
    if is_embedded():
        folder = Path(settings.BROKER_DIR)
        return {
            # One folder both ways: what a producer puts out is what a worker takes in.
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.2,
        }
    return {
        "visibility_timeout": 1800,  # longer than the hard time limit, or a job is rung twice
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }


def _make_app() -> Celery:
    # A folder has no host, but kombu warns of a missing one with every connection.
    broker = "filesystem://localhost//" if is_embedded() else settings.BROKER_URL
    celery_app = Celery("astrid", broker=broker, backend=None)
    celery_app.conf.update(
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        # The sweeper re-queues with a cap; Celery would re-run a poison job for ever.
        task_reject_on_worker_lost=False,
        task_serializer="json",
        accept_content=["json"],
        task_publish_retry=False,
        task_default_queue="cpu",
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_acquire_timeout=5,
        broker_transport_options=_transport_options(),
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_soft_shutdown_timeout=30,
        worker_enable_soft_shutdown_on_idle=True,
        worker_hijack_root_logger=False,
        # Control messages for workers long dead would pile up in the folder.
        worker_enable_remote_control=not is_embedded(),
        worker_max_tasks_per_child=50,
        worker_max_memory_per_child=1_500_000,
        task_soft_time_limit=600,
        task_time_limit=660,
        timezone="UTC",
        beat_scheduler="celery.beat:Scheduler",
        beat_schedule={
            "sweep": {
                "task": SWEEP,
                "schedule": 2.0,
                "options": {"queue": SWEEP_QUEUE, "expires": 10},
            }
        },
    )
    return celery_app


app = _make_app()


def _run_job(job_id: str) -> None:
    from astrid_site.core import jobs  # the ledger rings through this module

    jobs.run(UUID(job_id))


def _sweep() -> None:
    from astrid_site.core import upkeep

    upkeep.upkeep()


run_job = app.task(name=RUN_JOB)(_run_job)
sweep = app.task(name=SWEEP)(_sweep)


def prepare_broker_folder() -> None:
    """Make the message folders and drop a control file a dying process left half written."""
    if not is_embedded():
        return
    folder = Path(settings.BROKER_DIR)
    for name in ("messages", "control"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path in (folder / "control").glob("*.exchange"):
        try:
            json.loads(path.read_text())
        except ValueError:
            logger.warning("removed the broken control file %s", path.name)
            path.unlink(missing_ok=True)


def ring(job_ids: Iterable[UUID], *, queue: str = "cpu") -> bool:
    """Tell the workers of a queue that jobs wait; False when nobody could be told.

    Never raises and never waits long, whatever the broker does: it sits between a user and an
    answer, and the sweeper rings again anyway.
    """
    global _silent_until
    if time.monotonic() < _silent_until:
        return False
    told: list[bool] = []
    # A frozen Redis holds a sender for its socket time-out; a thread lets the user go on.
    sender = threading.Thread(
        target=_send, args=(list(job_ids), queue, told), name="ring", daemon=True
    )
    sender.start()
    sender.join(RING_PATIENCE_S)
    if not told:
        _silent_until = time.monotonic() + RING_REST_S
    return bool(told)


def _send(job_ids: list[UUID], queue: str, told: list[bool]) -> None:
    try:
        prepare_broker_folder()
        for job_id in job_ids:
            app.send_task(RUN_JOB, args=[str(job_id)], queue=queue, retry=False)
    except Exception as error:  # noqa: BLE001 - the bell may fail in any way; the row is the work
        logger.warning("no worker could be told of %d jobs: %s", len(job_ids), error)
        return
    told.append(True)
