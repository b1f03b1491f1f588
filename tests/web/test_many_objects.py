"""The queue and the table of objects with nothing, one thing and ten thousand things in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from astrid_site.imaging.healpix import nested_index
from catalog.models import AstroObject, ObjectDetection
from detection.models import Detection
from tests.web import factories
from tests.web.factories import World

N_MANY = 10_000
ONE_SURVEY = "?survey=simulated-survey"
PAGES = (
    "/",
    "/vet/",
    f"/vet/{ONE_SURVEY}",
    "/vet/queue/",
    "/objects/",
    f"/objects/{ONE_SURVEY}",
    "/objects/?name=many",
    "/observations/",
)


def seed(world: World, n_objects: int) -> None:
    """So many objects more, with one candidate each, on the world's one frame."""
    like = world.detections[0]
    rng = np.random.default_rng(13)
    places = zip(rng.uniform(0, 360, n_objects), rng.uniform(-60, 60, n_objects), strict=True)
    rows, owners = [], []
    for index, (ra, dec) in enumerate(places, start=Detection.objects.count()):
        told = {"ra": ra, "dec": dec, "healpix14": nested_index(ra, dec)}
        score = float(rng.uniform(5, 50))
        rows.append(
            Detection(
                run_id=like.run_id,
                observation_id=like.observation_id,
                index=index,
                x=like.x,
                y=like.y,
                score=score,
                flux=like.flux,
                flux_error=like.flux_error,
                is_kept=True,
                real_bogus=float(rng.uniform()),
                scorer=like.scorer,
                **told,
            )
        )
        owners.append(
            AstroObject(
                name=f"AstrID many {index}",
                n_detections=1,
                peak_score=score,
                last_detected_at=like.observation.observed_at,
                **told,
            )
        )
    Detection.objects.bulk_create(rows, batch_size=500)
    AstroObject.objects.bulk_create(owners, batch_size=500)
    links = [
        ObjectDetection(astro_object=owner, detection=row, separation_arcsec=0.1)
        for owner, row in zip(owners, rows, strict=True)
    ]
    ObjectDetection.objects.bulk_create(links, batch_size=500)


def cost(client: Client, address: str) -> int:
    """Queries of a page, once what is read only once has been read."""
    client.get(address)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200
    return len(queries)


def test_an_empty_sky_says_what_will_come_and_offers_no_further_page(
    client_of: Callable[[str], Client],
) -> None:
    client = client_of("curator")
    objects = client.get(reverse("catalog:list")).content.decode()
    assert "No objects yet" in objects
    assert "More</a>" not in objects
    assert "<table" not in objects
    vet = client.get(reverse("curation:vet")).content.decode()
    assert "Nothing waits for you" in vet
    assert "none has been found yet" in vet
    assert client.get(reverse("curation:queue")).content.decode().strip() == ""
    filtered = client.get(reverse("catalog:list"), {"name": "x"}).content.decode()
    assert "No object fits" in filtered
    assert "No observations yet" in client.get(reverse("observations:list")).content.decode()


def test_a_single_object_is_shown_decided_and_then_nothing_waits(
    client_of: Callable[[str], Client],
) -> None:
    world = World(factories.make_survey())
    factories.make_epoch(world, 0, sources=[(60.3, 70.2, 5000.0)])
    client, (owner,) = client_of("curator"), world.objects
    page = client.get(reverse("curation:vet"))
    assert owner.name in page.content.decode()
    assert page.context["tally"].n_waiting == 1
    table = client.get(reverse("catalog:list")).context["table"]
    assert ([row.pk for row in table.rows], table.after) == ([owner.pk], "")
    decided = {"detection": world.detections[0].pk, "label": "real"}
    client.post(reverse("curation:decide"), decided)
    done = client.get(reverse("curation:vet")).content.decode()
    assert "Nothing waits for you" in done
    assert "1 candidate " in done


def test_ten_thousand_objects_cost_no_more_queries_than_a_few_and_are_paged_through(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client = client_of("curator")
    seed(sky, 60)  # more than a page, so that paging itself is in the count
    few = {name: cost(client, name) for name in PAGES}
    seed(sky, N_MANY)
    many = {name: cost(client, name) for name in PAGES}
    # a search with conditions first sees whether few fit: one query more from a few thousand on
    more = {name: n - few[name] for name, n in many.items() if n != few[name]}
    assert more == {f"/objects/{ONE_SURVEY}": 1, "/objects/?name=many": 1}

    assert client.get(reverse("curation:vet")).context["tally"].n_waiting == N_MANY + 62
    seen, cursor = set(), ""
    for _ in range(3):
        table = client.get(reverse("catalog:list"), {"cursor": cursor}).context["table"]
        assert len(table.rows) == 50
        assert seen.isdisjoint(row.pk for row in table.rows)
        seen |= {row.pk for row in table.rows}
        cursor = table.after
    best = client.get(reverse("curation:vet")).context["card"].detection
    assert best.real_bogus == max(Detection.objects.values_list("real_bogus", flat=True))
