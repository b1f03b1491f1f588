"""System checks: what would only fail later is said at the start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from astrid_site.core import tasking


def _can_write(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, takes files."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


@register(Tags.files)
def check_folders(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[CheckMessage]:
    """The folders for pixels and messages must take files."""
    problems: list[CheckMessage] = []
    folders = {"the data folder": (Path(settings.DATA_DIR), "core.E001")}
    if not settings.S3_BUCKET:
        folders["the object store"] = (Path(settings.MEDIA_ROOT), "core.E002")
    if tasking.is_embedded():
        folders["the message folder"] = (Path(settings.BROKER_DIR), "core.E003")
    for what, (folder, number) in folders.items():
        if not _can_write(folder):
            problems.append(
                Error(
                    f"{what} {folder} cannot be written to",
                    hint="Set ASTRID_DATA_DIR to a folder this account owns.",
                    id=number,
                )
            )
    return problems


@register(Tags.compatibility, deploy=True)
def check_eviction(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[CheckMessage]:
    """A Redis that evicts keys would drop the queues' bindings."""
    policy = eviction_policy()
    if policy in {None, "noeviction"}:
        return []
    return [
        Warning(
            f"the broker's Redis evicts keys (maxmemory-policy {policy})",
            hint="Start it with --maxmemory-policy noeviction.",
            id="core.W001",
        )
    ]


def eviction_policy() -> str | None:
    """The broker's maxmemory-policy; None for another broker, or one that does not answer.

    A broker that is away is no matter of configuration: readiness reports it.
    """
    if not str(settings.BROKER_URL).startswith(("redis://", "rediss://")):
        return None
    import redis

    try:
        with redis.Redis.from_url(
            settings.BROKER_URL, socket_timeout=2, socket_connect_timeout=2
        ) as client:
            return str(client.config_get("maxmemory-policy").get("maxmemory-policy", ""))
    except redis.RedisError:
        return None
