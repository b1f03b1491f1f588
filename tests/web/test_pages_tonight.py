"""The first page: how to begin, what runs, what failed, who is alive."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from astrid_site.core.models import Heartbeat
from astrid_site.monitoring.probes import run_all
from tests.web import factories
from tests.web.factories import World


def test_the_first_page_of_an_empty_site_tells_how_to_begin(
    client_of: Callable[[str], Client],
) -> None:
    text = client_of("researcher").get("/").content.decode()
    assert "How to begin" in text
    assert "Simulated sky" not in text


def test_the_funnel_counts_what_is_in_the_database(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    factories.make_work(sky.survey)
    text = client_of("viewer").get(reverse("tonight", args=["funnel"])).content.decode()
    counts = re.findall(r'class="name">(\w+)<.*?<strong>(\d+)</strong>', text, re.S)
    assert counts == [
        ("Frames", "5"),
        ("Calibrated", "1"),
        ("Subtracted", "1"),
        ("Candidates", "2"),
        ("Kept", "2"),
        ("Objects", "2"),
        ("Confirmed", "0"),
    ]


def test_what_runs_what_failed_and_who_is_alive_is_shown(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    factories.make_work(sky.survey)
    text = client_of("researcher").get("/").content.decode()
    assert "fitting the kernel, 3 of 9 tiles" in text
    assert "too few stars for a PSF: n_stars=3, n_required=5" in text
    assert re.search(r"alive</span>\s*<span>worker", text)
    assert re.search(r"silent</span>\s*<span>sweeper", text)
    assert "Retry" in text
    assert "Retry" not in client_of("viewer").get("/").content.decode()


def test_a_worker_that_missed_three_beats_is_called_silent_by_page_and_probe(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    factories.make_work(sky.survey)
    client = client_of("viewer")
    for age_s, word, is_alive in ((25, "alive", True), (31, "silent", False)):
        seen = timezone.now() - timedelta(seconds=age_s)
        Heartbeat.objects.filter(kind="worker").update(seen_at=seen)
        text = client.get(reverse("tonight", args=["workers"])).content.decode()
        assert re.search(rf"{word}</span>\s*<span>worker", text)
        assert {p.name: p.is_ok for p in run_all()}["worker"] is is_alive
