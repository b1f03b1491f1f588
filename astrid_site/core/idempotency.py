"""The ``Idempotency-Key`` header: a repeated request is answered as it was the first time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from astrid_site.core.errors import ConflictError
from astrid_site.core.models import IdempotencyKey

MAX_KEY_LENGTH = 200


def request_digest(request: Request) -> str:
    """sha256 over the fields and the bytes of the files of a request."""
    digest = hashlib.sha256()
    for name in sorted(request.data):
        value = request.data[name]
        digest.update(name.encode() + b"\0")
        if hasattr(value, "chunks"):
            for chunk in value.chunks():
                digest.update(chunk)
            value.seek(0)
        else:
            digest.update(str(value).encode())
        digest.update(b"\1")
    return digest.hexdigest()


def answer_once(request: Request, act: Callable[[], tuple[int, dict[str, Any]]]) -> Response:
    """Run ``act`` once per key and user; without a key, every time.

    Raises
    ------
    ConflictError
        If the key was used before with another body, or is too long.
    """
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        status, answer = act()
        return Response(answer, status=status)
    if len(key) > MAX_KEY_LENGTH:
        msg = f"Idempotency-Key: at most {MAX_KEY_LENGTH} characters."
        raise ConflictError(msg)
    digest = request_digest(request)
    stored = _find(request, key)
    if stored is None:
        status, answer = act()
        stored = _store(request, key, digest, status, answer)
    if stored.body_sha256 != digest:
        msg = "Idempotency-Key: this key was used before with another body; use a fresh one."
        raise ConflictError(msg)
    return Response(stored.answer, status=stored.status)


def _find(request: Request, key: str) -> IdempotencyKey | None:
    return IdempotencyKey.objects.filter(user_id=request.user.pk, key=key).first()


def _store(
    request: Request, key: str, digest: str, status: int, answer: dict[str, Any]
) -> IdempotencyKey:
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(
                user_id=request.user.pk, key=key, body_sha256=digest, status=status, answer=answer
            )
    except IntegrityError:
        # a twin of this request was faster; its answer is the answer
        found = _find(request, key)
        if found is None:
            raise
        return found
