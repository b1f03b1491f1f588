"""The finder chart to print, on the page's own small sky."""

from __future__ import annotations

from collections.abc import Callable

from django.test import Client
from django.urls import reverse

from tests.web.factories import World


def test_a_finder_chart_is_one_printed_page_of_the_width_asked_for(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client = client_of("viewer")
    owner = sky.objects[0]
    page = client.get(reverse("catalog:detail", args=[owner.pk])).content.decode()
    address = reverse("catalog:finder_sheet", args=[owner.pk])
    assert address in page
    usual, wide = client.get(address), client.get(address, {"size": "60"})
    assert usual["Content-Type"] == "application/pdf"
    assert usual.content.startswith(b"%PDF")
    assert usual.content.count(b"/Type /Page ") == 1
    assert usual.content != wide.content
    assert client.get(address, {"size": "1e9"}).content == usual.content


def test_an_object_without_a_frame_has_no_chart(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    owner = sky.objects[0]
    owner.members.all().delete()
    address = reverse("catalog:finder_sheet", args=[owner.pk])
    assert client_of("viewer").get(address).status_code == 404
