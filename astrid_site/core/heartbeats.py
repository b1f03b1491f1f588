"""Signs of life of long-running processes, as the health pages read them."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from django.db import DatabaseError, connections
from django.db.models.functions import Now

from astrid_site.core.models import Heartbeat

logger = logging.getLogger(__name__)

EVERY_S = 10.0


def beat(kind: str, name: str) -> None:
    """Say that this process lives; a name is kept over restarts, so rows stay few."""
    Heartbeat.objects.update_or_create(
        name=name[:120],
        defaults={
            "kind": kind,
            "seen_at": Now(),
            "detail": {"pid": os.getpid(), "host": socket.gethostname()},
        },
    )


def beat_and_close(kind: str, name: str) -> None:
    """Beat from a process that must hold no connection, and must not end with the database."""
    try:
        beat(kind, name)
    except DatabaseError as error:
        logger.warning("cannot write the heartbeat of %s: %s", name, error)
    finally:
        connections.close_all()


def beat_from_thread(kind: str, name: str) -> None:
    """Beat for ever from a thread: for a process whose main thread is busy for long."""
    threading.Thread(
        target=_beat_for_ever,
        args=(lambda: beat_and_close(kind, name),),
        name="heartbeat",
        daemon=True,
    ).start()


def _beat_for_ever(once: Callable[[], None]) -> None:
    while True:
        once()
        time.sleep(EVERY_S)
