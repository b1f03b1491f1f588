"""Probes that really ask each part whether it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone

from astrid_site.core import heartbeats
from astrid_site.core.models import Heartbeat

#: A process that missed three beats is taken for dead.
SILENCE = timedelta(seconds=3 * heartbeats.EVERY_S)
#: Without these nothing can be served; without the others work only waits.
VITAL = frozenset({"database", "storage"})


@dataclass(frozen=True)
class ProbeResult:
    """Outcome of one probe; the detail holds no secret and no path."""

    name: str
    is_ok: bool
    detail: str


def run_all() -> list[ProbeResult]:
    """Every probe, in order."""
    return [_run(name, probe) for name, probe in PROBES.items()]


def overall(results: list[ProbeResult]) -> str:
    """``down`` without a vital part, ``degraded`` without another, else ``ready``."""
    broken = {result.name for result in results if not result.is_ok}
    if broken & VITAL:
        return "down"
    return "degraded" if broken else "ready"


def _run(name: str, probe: Callable[[], str]) -> ProbeResult:
    try:
        return ProbeResult(name, True, probe())
    except Exception as error:  # noqa: BLE001 - a probe's whole purpose is to report any failure
        return ProbeResult(name, False, type(error).__name__)


def _ask_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return connection.vendor


def _ask_storage() -> str:
    name = default_storage.save("probe/ready", ContentFile(b"ready"))
    try:
        with default_storage.open(name) as stored:
            if stored.read() != b"ready":
                msg = "the object store returned other bytes than it was given"
                raise OSError(msg)
    finally:
        default_storage.delete(name)
    return type(default_storage).__name__


def _ask_broker() -> str:
    if settings.BROKER_URL.startswith("redis"):
        import redis

        client = redis.Redis.from_url(settings.BROKER_URL, socket_timeout=3)
        try:
            client.ping()
        finally:
            client.close()
        return "redis"
    if not settings.BROKER_DIR.is_dir():
        msg = "the broker folder is missing"
        raise OSError(msg)
    return "filesystem"


def _see(kind: str) -> str:
    alive = Heartbeat.objects.filter(kind=kind, seen_at__gte=timezone.now() - SILENCE).count()
    if not alive:
        msg = f"no {kind} was seen lately"
        raise LookupError(msg)
    return f"{alive} alive"


PROBES: dict[str, Callable[[], str]] = {
    "database": _ask_database,
    "storage": _ask_storage,
    "broker": _ask_broker,
    "sweeper": lambda: _see("sweeper"),
    "worker": lambda: _see("worker"),
}
