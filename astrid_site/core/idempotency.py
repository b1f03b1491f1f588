"""The ``Idempotency-Key`` header: a repeated request is answered as it was the first time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from rest_framework.request import Request
from rest_framework.response import Response

from astrid_site.core.errors import ApplicationError, ConflictError
from astrid_site.core.models import IdempotencyKey
from astrid_site.core.permissions import person
from astrid_site.core.problems import PROBLEM_TYPE

MAX_KEY_LENGTH = 200
#: Answers are kept this long; a client that repeats itself later asks anew.
KEPT_FOR = timedelta(days=30)
#: A twin waits this long for the answer of the request that came first.
PATIENCE_S = 30.0
#: A request that has not answered for this long has died with its process.
ABANDONED_AFTER = timedelta(minutes=10)
_POLL_S = 0.1
#: Status of a key whose first request is still being worked on.
_IN_PROGRESS = 0

Act = Callable[[], tuple[int, dict[str, Any]]]


def request_digest(request: Request) -> str:
    """sha256 over the fields and the bytes of the files of a request."""
    digest = hashlib.sha256(f"{request.method} {request.path}\0".encode())
    for name in sorted(request.data):
        value = request.data[name]
        digest.update(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
        digest.update(_value_digest(value))
    return digest.hexdigest()


def _value_digest(value: Any) -> bytes:
    part = hashlib.sha256()
    if hasattr(value, "chunks"):
        part.update(str(value.name).encode("utf-8", "surrogatepass") + b"\0")
        for chunk in value.chunks():
            part.update(chunk)
        value.seek(0)
    else:
        part.update(str(value).encode("utf-8", "surrogatepass"))
    return part.digest()


def answer_once(request: Request, act: Act) -> Response:
    """Run ``act`` once per key and user; without a key, every time.

    The key is claimed by a row before the work begins. Twins of the request find the row, wait
    for the answer and give it too.

    Raises
    ------
    ApplicationError
        If the key is longer than ``MAX_KEY_LENGTH`` or not printable ASCII.
    ConflictError
        If the key was used before with another body, or its first request is still running.
    """
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        return _answer(*act())
    if len(key) > MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        msg = f"Idempotency-Key: printable ASCII, at most {MAX_KEY_LENGTH} characters."
        raise ApplicationError(msg)
    digest = request_digest(request)
    claimed = _claim(request, key, digest)
    stored = _work(claimed, act) if claimed else _await_answer(request, key, digest)
    return _answer(stored.status, stored.answer)


def _answer(status: int, answer: dict[str, Any]) -> Response:
    return Response(answer, status=status, content_type=PROBLEM_TYPE if status >= 400 else None)


def _claim(request: Request, key: str, digest: str) -> IdempotencyKey | None:
    """The row of a key nobody used yet; None when somebody did."""
    mine = IdempotencyKey.objects.filter(user=person(request))
    mine.filter(created_at__lt=Now() - KEPT_FOR).delete()
    mine.filter(key=key, status=_IN_PROGRESS, created_at__lt=Now() - ABANDONED_AFTER).delete()
    if mine.filter(key=key).exists():
        return None
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(
                user=person(request),
                key=key,
                body_sha256=digest,
                status=_IN_PROGRESS,
                answer={},
            )
    except IntegrityError:
        return None


def _work(claimed: IdempotencyKey, act: Act) -> IdempotencyKey:
    try:
        claimed.status, claimed.answer = act()
    except BaseException:
        # nothing was answered, so the key is free for another try
        IdempotencyKey.objects.filter(pk=claimed.pk).delete()
        raise
    claimed.save(update_fields=["status", "answer"])
    return claimed


def _await_answer(request: Request, key: str, digest: str) -> IdempotencyKey:
    until = time.monotonic() + PATIENCE_S
    while True:
        stored = IdempotencyKey.objects.filter(user=person(request), key=key).first()
        if stored is None:
            msg = "Idempotency-Key: the first request with this key failed; send it again."
            raise ConflictError(msg)
        if stored.body_sha256 != digest:
            msg = "Idempotency-Key: this key was used before with another body; use a fresh one."
            raise ConflictError(msg)
        if stored.status != _IN_PROGRESS:
            return stored
        if time.monotonic() >= until:
            msg = "Idempotency-Key: the first request with this key is still running; ask later."
            raise ConflictError(msg)
        time.sleep(_POLL_S)
