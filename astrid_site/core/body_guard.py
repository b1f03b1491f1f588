"""Refuses request bodies that are too large, too slow, or sent by nobody we know.

Django under ASGI writes the whole body to a temporary file before any middleware or
authentication runs, so a stranger could fill the disk; this stands in front of it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import connections
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.settings import api_settings

from astrid_site.core.problems import PROBLEM_TYPE, problem_body

Message = Mapping[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

STRANGER_BYTES = 2**20
SILENCE_S = 20.0
GRACE_S = 20.0
SLOWEST_BYTES_PER_S = 1024.0
_WORDS = {
    401: ("not_authenticated", "Sign in before sending more than a megabyte."),
    408: ("too_slow", "The request body came too slowly."),
    413: ("too_large", "The request body is too large."),
}


class _RefusalError(Exception):
    """The body is not wanted; carries the HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(_WORDS[status][1])
        self.status = status


class BodyGuard:
    """ASGI application around another one; see the module."""

    def __init__(self, inner: Application) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it here."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        try:
            announced = _announced_bytes(headers)
            limit, status = await _limit(headers, announced)
            if announced is not None and announced > limit:
                raise _RefusalError(status)
        except _RefusalError as refusal:
            await _answer(refusal.status, send)
            return
        body = _MeasuredBody(receive, limit=limit, status=status)
        answer = _WatchedAnswer(send)
        await self.inner(scope, body, answer)
        if body.refused and not answer.has_started:
            await _answer(body.refused, send)


class _MeasuredBody:
    """Passes the body on, and hangs up on it when it grows too large or comes too slowly."""

    def __init__(self, receive: Receive, *, limit: int, status: int) -> None:
        self.refused = 0
        self._receive = receive
        self._limit = limit
        self._status = status
        self._bytes = 0
        self._is_complete = False
        self._began = time.monotonic()

    async def __call__(self) -> Message:
        """The next message; a hang-up in place of one that is not wanted."""
        if self.refused:
            return {"type": "http.disconnect"}
        if self._is_complete:
            # What comes now is only the news that the client has gone.
            return await self._receive()
        try:
            return self._measure(await asyncio.wait_for(self._receive(), SILENCE_S))
        except TimeoutError:
            self.refused = 408
        except _RefusalError as refusal:
            self.refused = refusal.status
        return {"type": "http.disconnect"}

    def _measure(self, message: Message) -> Message:
        self._bytes += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        if self._bytes > self._limit:
            raise _RefusalError(self._status)
        patient_s = time.monotonic() - self._began - GRACE_S
        if not self._is_complete and self._bytes < patient_s * SLOWEST_BYTES_PER_S:
            raise _RefusalError(408)
        return message


class _WatchedAnswer:
    """Passes the answer on and notes that there is one."""

    def __init__(self, send: Send) -> None:
        self.has_started = False
        self._send = send

    async def __call__(self, message: Message) -> None:
        """Send it."""
        self.has_started = True
        await self._send(message)


def _announced_bytes(headers: Mapping[bytes, bytes]) -> int | None:
    text = headers.get(b"content-length")
    if text is None:
        return None
    return int(text) if text.isdigit() else None


async def _limit(headers: Mapping[bytes, bytes], announced: int | None) -> tuple[int, int]:
    """How many bytes this caller may send, and what to answer beyond that."""
    is_small = announced is not None and announced <= STRANGER_BYTES
    is_empty = announced is None and b"transfer-encoding" not in headers
    if is_small or is_empty:
        # Small enough for anybody; who it is, the views will ask.
        return STRANGER_BYTES, 413
    if await _is_known(headers):
        return int(settings.MAX_UPLOAD_BYTES), 413
    return STRANGER_BYTES, 401


async def _is_known(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the request comes with a live session or key.

    Not an authorisation: that stays with the views. But a made-up cookie or key must not open
    the disk either, so both are looked up.
    """
    if not headers.get(b"authorization") and not headers.get(b"cookie"):
        return False
    return await sync_to_async(_has_user)(headers)


def _has_user(headers: Mapping[bytes, bytes]) -> bool:
    try:
        return _names_user(headers)
    finally:
        # Outside a request nobody else closes what this thread opened.
        connections.close_all()


def _names_user(headers: Mapping[bytes, bytes]) -> bool:
    request = HttpRequest()
    request.META["HTTP_AUTHORIZATION"] = headers.get(b"authorization", b"").decode("latin-1")
    engine = import_module(settings.SESSION_ENGINE)
    request.session = engine.SessionStore(session_key=_session_key(headers) or None)
    return bool(get_user(request).is_authenticated) or _has_key(request)


def _has_key(request: HttpRequest) -> bool:
    """Ask the API's own authenticators, but for the session, which has been asked."""
    # The stubs call them strings; DRF has imported the classes by then.
    kinds = cast(Sequence[type[BaseAuthentication]], api_settings.DEFAULT_AUTHENTICATION_CLASSES)
    for kind in kinds:
        if issubclass(kind, SessionAuthentication):
            continue
        try:
            if kind().authenticate(Request(request)) is not None:
                return True
        except APIException:
            return False
    return False


def _session_key(headers: Mapping[bytes, bytes]) -> str:
    try:
        cookies = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
    except CookieError:
        return ""
    morsel = cookies.get(settings.SESSION_COOKIE_NAME)
    return morsel.value if morsel else ""


async def _answer(status: int, send: Send) -> None:
    body = json.dumps(problem_body(status, *_WORDS[status])).encode()
    headers = [
        (b"content-type", PROBLEM_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Key"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
