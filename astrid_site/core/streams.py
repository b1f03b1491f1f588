"""The live stream: every published event as server-sent events, resumable by its number."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.module_loading import import_string
from django.views.decorators.http import require_GET

from astrid_site.core import events
from astrid_site.core.models import Event

P = ParamSpec("P")
T = TypeVar("T")

PERMISSION = "core.view_event"
POLL_S = 0.5
HEARTBEAT_S = 15.0
RETRY_MS = 3000


@require_GET
async def stream_events(request: HttpRequest) -> HttpResponseBase:
    """Follow the log from where the browser last was (``Last-Event-ID``) or from ``?after=``."""
    if not await _ask(_is_allowed, request):
        return HttpResponse(status=403, content="Log in to follow events.\n")
    after = _start(request)
    if after is None:
        after = await _ask(events.latest_sequence)
    response = StreamingHttpResponse(_follow(request, after), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


async def _follow(request: HttpRequest, after: int) -> AsyncIterator[str]:
    """Yield events as they are published, and a sign of life when there are none."""
    yield f"retry: {RETRY_MS}\n\n"
    if await _ask(_has_gap, after):
        # older events were forgotten meanwhile: the page must read everything afresh
        yield "event: reset\ndata: {}\n\n"
    said_at = checked_at = time.monotonic()
    while True:
        for event in await _ask(events.read_after, after):
            after = event.sequence or after
            said_at = time.monotonic()
            yield format_event(event)
        if time.monotonic() - said_at >= HEARTBEAT_S:
            said_at = time.monotonic()
            yield ": still here\n\n"
        if time.monotonic() - checked_at >= HEARTBEAT_S:
            checked_at = time.monotonic()
            if not await _ask(_is_allowed, request):
                return
        await asyncio.sleep(POLL_S)


def format_event(event: Event) -> str:
    """One event in the words of the server-sent events standard."""
    body = {
        "kind": event.kind,
        "subject_id": str(event.subject_id) if event.subject_id else None,
        "payload": event.payload,
    }
    return f"id: {event.sequence}\ndata: {json.dumps(body)}\n\n"


async def _ask(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask the database in a thread, and give the connection back: an open page holds none."""

    def ask() -> T:
        try:
            return question(*args, **kwargs)
        finally:
            # a connection in the middle of a caller's transaction is not ours to close
            if not connection.in_atomic_block:
                close_old_connections()

    return await sync_to_async(ask)()


def _has_gap(after: int) -> bool:
    return after > 0 and events.oldest_sequence() > after + 1


def _start(request: HttpRequest) -> int | None:
    word = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    return int(word) if word.isascii() and word.isdigit() and len(word) < 19 else None


def _is_allowed(request: HttpRequest) -> bool:
    """Whether the session is still good and its user may watch; read afresh each time."""
    key = request.session.session_key
    if not key:
        return False
    store = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    request.session = store(key)
    user = get_user(request)
    return user.is_active and user.has_perm(PERMISSION)
