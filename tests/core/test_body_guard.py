"""What the guard in front of Django lets through, and what it refuses before it is swallowed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from astrid_site.accounts.models import ApiKey
from astrid_site.core import body_guard
from astrid_site.core.body_guard import BodyGuard

MIB = 2**20


class Reader:
    """Stands where Django stands: reads the whole body, then answers 200."""

    def __init__(self) -> None:
        self.bytes = 0
        self.was_cut = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.was_cut = True
                return
            self.bytes += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"read"})


def ask(
    chunks: Iterable[bytes], *, headers: dict[str, str], pause_s: float = 0.0
) -> tuple[int, Reader, bytes]:
    """Send a body in chunks; returns status, what Django's place saw, and the answer."""
    reader = Reader()
    answers: list[dict[str, Any]] = []

    async def messages() -> AsyncIterator[dict[str, Any]]:
        waiting = list(chunks)
        for number, chunk in enumerate(waiting, start=1):
            await asyncio.sleep(pause_s)
            yield {"type": "http.request", "body": chunk, "more_body": number < len(waiting)}
        while True:
            yield {"type": "http.disconnect"}

    async def talk() -> None:
        source = messages()

        async def receive() -> dict[str, Any]:
            return await anext(source)

        async def send(message: Any) -> None:
            answers.append(message)

        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": raw}
        await BodyGuard(reader)(scope, receive, send)
        await source.aclose()

    asyncio.run(talk())
    return answers[0]["status"], reader, answers[1]["body"]


def test_a_stranger_may_send_a_small_body() -> None:
    status, reader, _ = ask([b"x" * 1000], headers={"content-length": "1000"})
    assert status == 200
    assert reader.bytes == 1000


def test_a_stranger_who_announces_a_large_body_is_refused_before_a_byte_is_read() -> None:
    status, reader, body = ask([b"x"], headers={"content-length": str(2 * MIB)})
    assert status == 401
    assert reader.bytes == 0
    assert json.loads(body)["detail"].startswith("Sign in")


def test_a_stranger_who_announces_nothing_is_cut_off_at_a_mebibyte() -> None:
    chunks = [b"x" * 65536] * 400
    status, reader, _ = ask(chunks, headers={"transfer-encoding": "chunked"})
    assert status == 401
    assert reader.was_cut
    assert reader.bytes <= MIB


def test_a_body_longer_than_it_was_announced_is_cut_off() -> None:
    status, reader, _ = ask([b"x" * MIB] * 3, headers={"content-length": "10"})
    assert status == 413
    assert reader.bytes <= MIB


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "headers",
    [
        {"cookie": "sessionid=made-up"},
        {"cookie": "broken=\x01;;;sessionid"},
        {"authorization": "Key made-up"},
        {"authorization": "Key"},
        {"authorization": "Basic Zm9vOmJhcg=="},
    ],
)
def test_a_made_up_cookie_or_key_opens_nothing(headers: dict[str, str]) -> None:
    status, reader, _ = ask([b"x"], headers={"content-length": str(2 * MIB), **headers})
    assert status == 401
    assert reader.bytes == 0


@pytest.mark.django_db(transaction=True)
def test_who_is_signed_in_may_send_up_to_the_limit(settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 3 * MIB
    client = Client()
    client.force_login(get_user_model().objects.create_user(username="ada"))
    cookie = SimpleCookie(client.cookies).output(header="", attrs=[], sep=";").strip()
    length = {"content-length": str(2 * MIB), "cookie": cookie}
    assert ask([b"x" * MIB] * 2, headers=length)[0] == 200
    assert ask([b"x"], headers={**length, "content-length": str(4 * MIB)})[0] == 413
    chunked = {"transfer-encoding": "chunked", "cookie": cookie}
    status, reader, _ = ask([b"x" * MIB] * 9, headers=chunked)
    assert status == 413
    assert reader.bytes <= 3 * MIB


@pytest.mark.django_db(transaction=True)
def test_a_live_key_may_send_more_than_a_mebibyte() -> None:
    user = get_user_model().objects.create_user(username="grace")
    digest = hashlib.sha256(b"secret").hexdigest()
    ApiKey.objects.create(user=user, name="k", prefix="p", sha256=digest, can_write=True)
    headers = {"content-length": str(2 * MIB), "authorization": "Key secret"}
    assert ask([b"x" * MIB] * 2, headers=headers)[0] == 200


def test_a_body_that_drips_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_guard, "GRACE_S", 0.05)
    chunks = [b"x"] * 100
    status, reader, _ = ask(chunks, headers={"content-length": "100"}, pause_s=0.05)
    assert status == 408
    assert reader.bytes < 10


def test_a_body_that_stops_coming_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_guard, "SILENCE_S", 0.05)
    status, reader, _ = ask([b"x", b"y"], headers={"content-length": "2"}, pause_s=0.5)
    assert status == 408
    assert reader.was_cut
