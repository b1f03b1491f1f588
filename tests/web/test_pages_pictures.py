"""Pictures, files and the stream of events: what browsers fetch beside the pages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient, Client
from django.urls import reverse

from astrid_site.core import events, streams
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.storage import put_bytes
from tests.web import factories
from tests.web.factories import World


@pytest.mark.parametrize("stretch", ["zscale", "asinh", "percentile", "linear"])
def test_images_are_drawn_at_every_stretch(
    sky: World, client_of: Callable[[str], Client], stretch: str
) -> None:
    client = client_of("viewer")
    for address in (
        reverse("observations:image", args=[sky.observations[0].pk, "difference"]),
        reverse("detection:cutout", args=[sky.detections[0].pk, "science"]),
        reverse("catalog:finder", args=[sky.objects[0].pk]),
    ):
        answer = client.get(address, {"stretch": stretch})
        assert answer.content[:8] == b"\x89PNG\r\n\x1a\n"


def test_an_unchanged_image_is_not_sent_twice(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client = client_of("viewer")
    address = reverse("observations:image", args=[sky.observations[0].pk, "science"])
    tag = client.get(address)["ETag"]
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
    other = client.get(address, {"stretch": "asinh"}, headers={"If-None-Match": tag})
    assert other.status_code == 200


def test_unknown_panels_and_stretches_of_a_candidate_are_not_found(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client, key = client_of("viewer"), sky.detections[0].pk
    assert client.get(reverse("detection:cutout", args=[key, "moon"])).status_code == 404
    strange = client.get(reverse("detection:cutout", args=[key, "strip"]), {"stretch": "log"})
    assert strange.status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_file_is_sent_as_an_attachment_that_no_browser_interprets() -> None:
    user = factories.make_user("vera", "viewer")
    body = b"<script>alert(1)</script>" * 100_000
    stored = put_bytes(body, kind=FileKind.RAW, name="evil\r\n.html", media_type="text/html")
    client = AsyncClient()
    client.force_login(user)

    async def fetch() -> tuple[dict[str, str], bytes]:
        answer = await client.get(reverse("previews", args=[stored.pk]))
        return dict(answer.items()), b"".join([piece async for piece in answer.streaming_content])

    headers, received = asyncio.run(fetch())
    assert received == body
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment")
    assert "\n" not in headers["Content-Disposition"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Length"] == str(len(body))


@pytest.mark.django_db(transaction=True)
def test_the_stream_replays_what_was_missed_and_ends_when_the_user_loses_access(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "POLL_S", 0.01)
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.05)
    user = factories.make_user("vera", "viewer")
    for number in range(3):
        events.publish("job.progress", payload={"number": number})
    events.assign_sequences()
    first = events.latest_sequence() - 2
    client = AsyncClient()
    client.force_login(user)

    async def follow() -> str:
        answer = await client.get("/events/", headers={"Last-Event-ID": str(first)})
        assert answer["X-Accel-Buffering"] == "no"
        assert answer["Content-Type"] == "text/event-stream"
        text = ""
        async for piece in answer.streaming_content:
            text += piece.decode()
            if ": still here" in text and user.is_active:
                user.is_active = False
                await sync_to_async(user.save)()
        return text

    text = asyncio.run(asyncio.wait_for(follow(), timeout=20))
    assert text.startswith("retry: 3000\n\n")
    assert re.findall(r"id: (\d+)", text) == [str(first + 1), str(first + 2)]
    assert '"number": 1' in text


@pytest.mark.django_db(transaction=True)
def test_the_stream_is_refused_to_strangers() -> None:
    async def ask() -> int:
        return (await AsyncClient().get("/events/")).status_code

    assert asyncio.run(ask()) == 403


def test_stored_files_are_listed_nowhere(sky: World, client_of: Callable[[str], Client]) -> None:
    assert StoredFile.objects.count() > 0
    assert client_of("admin").get("/files/").status_code == 404
