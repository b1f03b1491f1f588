"""The search for objects: what page, REST and exports find is one and the same, and exact."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from astrid_site.imaging.healpix import nested_indices
from catalog.algorithms.object_search import object_search
from catalog.models import AstroObject, ObjectStatement, SavedSearch
from catalog.selectors import search_page, search_rows
from tests.api.fixtures import api_as, browser_as, people
from tests.catalog.factories import make_object

__all__ = ["api_as", "browser_as", "people"]
pytestmark = pytest.mark.django_db
START = datetime(2026, 9, 1, tzinfo=UTC)


def seed(n: int = 400) -> list[AstroObject]:
    """Objects over RA 0 and at the pole; every seventh never dated."""
    rng = np.random.default_rng(3)
    ra = rng.uniform(-3, 3, n) % 360
    dec = np.where(rng.uniform(size=n) < 0.5, rng.uniform(-3, 3, n), rng.uniform(87, 90, n))
    cells = nested_indices(ra, dec)
    return AstroObject.objects.bulk_create(
        AstroObject(
            name=f"AstrID J{i:04d}",
            ra=float(ra[i]),
            dec=float(dec[i]),
            healpix14=int(cells[i]),
            classification="SN Ia" if i % 3 == 0 else "",
            first_detected_at=START + timedelta(days=i / 40) if i % 7 else None,
            last_detected_at=START + timedelta(days=i // 5 / 10) if i % 7 else None,
            brightest_magnitude=float(rng.uniform(15, 20)),
            best_real_bogus=float(rng.uniform()),
        )
        for i in range(n)
    )


def paged(search: Any, size: int = 7) -> list[AstroObject]:
    """Every row, page by page."""
    rows, cursor = [], ""
    while True:
        page = search_page(search, cursor=cursor, size=size)
        rows += page.rows
        if not (cursor := page.after):
            return rows


REGIONS: dict[str, dict[str, Any]] = {
    "everything": {},
    "cone over RA 0": {"ra": 359.9, "dec": 0.3, "radius_arcsec": 5400.0},
    "cone on the pole": {"ra": 12.0, "dec": 90.0, "radius_arcsec": 3600.0},
    "box": {"ra_min": 358.5, "ra_max": 1.0, "dec_min": -1.0, "dec_max": 2.0},
    "half a box": {"dec_min": 88.0},
    "polygon": {"polygon": "359 -1, 1 -1, 0 2"},
    "moc": {"moc": "4/1000-1400"},
}


@pytest.mark.parametrize("name", REGIONS)
def test_pages_hold_every_object_of_a_region_once_and_in_order(name: str) -> None:
    rows = seed()
    search = object_search(REGIONS[name])
    region = search.region
    expected = {r.pk for r in rows if region is None or region.contains([r.ra], [r.dec])[0]}
    assert 0 < len(expected) <= len(rows)
    found = paged(search)
    assert [row.pk for row in found] == list(dict.fromkeys(row.pk for row in found))
    assert {row.pk for row in found} == expected
    dates = [row.last_detected_at for row in found]
    dated = [date for date in dates if date is not None]
    assert dates == [*sorted(dated, reverse=True), *[None] * (len(dates) - len(dated))]
    streamed = [row[0] for piece in search_rows(search, ["pk"]) for row in piece]
    assert sorted(streamed) == sorted(expected)


def test_conditions_on_time_magnitude_score_and_class_all_hold_at_once() -> None:
    rows = seed()
    since, until = START + timedelta(days=2), START + timedelta(days=5)
    search = object_search(
        {
            "since": since,
            "until": until,
            "min_magnitude": 16.0,
            "max_magnitude": 19.0,
            "min_score": 0.2,
            "max_score": 0.9,
            "classification": "SN Ia",
        }
    )
    expected = {
        r.pk
        for r in rows
        if r.last_detected_at is not None
        and r.first_detected_at is not None
        and r.last_detected_at >= since
        and r.first_detected_at <= until
        and 16 <= (r.brightest_magnitude or 0) <= 19
        and 0.2 <= (r.best_real_bogus or 0) <= 0.9
        and r.classification
    }
    assert len(expected) > 5
    assert {row.pk for row in paged(search)} == expected


def test_words_are_found_in_names_classes_and_aliases_but_not_in_withdrawn_ones(
    people: dict[str, Any],
) -> None:
    named, classed, other = (
        make_object(10),
        make_object(20, classification="SN Ib"),
        make_object(30),
    )
    alias = ObjectStatement.objects.create(
        astro_object=other, kind="alias", text="SN 2026abc", said_by=people["curator"]
    )

    def found(words: str) -> set[Any]:
        return {row.pk for row in paged(object_search({"q": words}))}

    assert found(named.name[7:15]) == {named.pk}
    assert found("sn ib") == {classed.pk}
    assert found("2026ABC") == {other.pk}
    ObjectStatement.objects.create(
        astro_object=other, kind="alias", said_by=people["curator"], withdraws=alias
    )
    assert found("2026abc") == set()


def test_a_statement_is_never_changed_nor_removed(people: dict[str, Any]) -> None:
    said = ObjectStatement.objects.create(
        astro_object=make_object(), kind="host", text="NGC 1", said_by=people["curator"]
    )
    for change in (
        lambda: ObjectStatement.objects.filter(pk=said.pk).update(text="NGC 2"),
        lambda: ObjectStatement.objects.filter(pk=said.pk).delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    said.refresh_from_db()
    assert said.text == "NGC 1"


def test_rest_page_and_export_find_the_same_objects(
    api_as: Callable[[str], APIClient],
) -> None:
    seed()
    client = api_as("viewer")
    asked = {"polygon": "359 -1, 1 -1, 0 2", "min_score": 0.3}
    names, cursor = [], {}
    for _ in range(50):
        page = client.get("/api/v1/objects/search/", {**asked, "page_size": 5, **cursor}).json()
        names += [row["name"] for row in page["results"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert len(names) > 10
    export = client.get("/api/v1/objects/export/csv/", asked).getvalue().decode().splitlines()
    assert sorted(names) == sorted(line.split(",")[0] for line in export[1:])
    shown = client.get(reverse("catalog:list"), asked).context["table"].rows
    assert {row.name for row in shown} <= set(names)
    assert len(shown) == min(50, len(names))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"ra": "1"}, "dec"),
        ({"polygon": "1 2"}, "polygon"),
        ({"radius": "5"}, "radius"),
        ({"since": "yesterday"}, "since"),
        ({"min_score": "2"}, "min_score"),
        ({"survey": "nobody"}, "survey"),
        ({"ra": "nan", "dec": "1"}, "ra"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused_with_its_field(
    asked: dict[str, str], field: str, api_as: Callable[[str], APIClient]
) -> None:
    for address in ("/api/v1/objects/search/", "/api/v1/objects/export/csv/"):
        answer = api_as("viewer").get(address, asked)
        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"
        assert field in answer.json()["errors"]


def test_a_cursor_of_nobody_is_refused(api_as: Callable[[str], APIClient]) -> None:
    answer = api_as("viewer").get("/api/v1/objects/search/", {"cursor": "bm90aGluZw=="})
    assert answer.status_code == 404


def test_a_page_says_what_is_wrong_with_a_search(browser_as: Callable[[str], Client]) -> None:
    page = browser_as("viewer").get(reverse("catalog:list"), {"polygon": "1 2, 3 4"})
    assert "needs 3 to 200 corners" in page.content.decode()


def test_a_saved_search_is_found_again_by_its_owner_and_by_others_once_shared(
    browser_as: Callable[[str], Client], api_as: Callable[[str], APIClient]
) -> None:
    owner, other = browser_as("viewer"), api_as("curator")
    address = f"{reverse('catalog:save_search')}?name=J10&radius=5&ra=150&dec=2"
    told = owner.post(address, {"name": "mine"})
    assert told.status_code == 302
    row = SavedSearch.objects.get()
    assert row.parameters == {"q": "J10", "ra": "150.0", "dec": "2.0", "radius_arcsec": "5.0"}
    assert owner.get(told.url).context["form"].cleaned_data["radius"] == 5.0
    assert other.get("/api/v1/searches/").json() == []
    owner.post(address, {"name": "mine", "is_public": "on"})
    assert [r["name"] for r in other.get("/api/v1/searches/").json()] == ["mine"]
    assert "mine" in other.get(reverse("catalog:list")).content.decode()
    assert other.delete(f"/api/v1/searches/{row.pk}/").status_code == 404
    assert owner.post(reverse("catalog:forget_search", args=[row.pk])).status_code == 302
    assert not SavedSearch.objects.exists()


def test_a_search_saved_over_rest_is_checked_like_one_that_is_run(
    api_as: Callable[[str], APIClient],
) -> None:
    client = api_as("viewer")

    def save(parameters: dict[str, str]) -> Any:
        told = {"name": "bright", "parameters": parameters}
        return client.post("/api/v1/searches/", told, format="json")

    assert save({"polygon": "1 2"}).status_code == 400
    assert save({"colour": "red"}).status_code == 400
    answer = save({"max_magnitude": "18", "since": "2026-09-01T00:00:00Z"})
    assert answer.status_code == 201
    kept = answer.json()["parameters"]
    assert kept == {"max_magnitude": "18.0", "since": "2026-09-01T00:00:00+00:00"}
    assert client.get("/api/v1/objects/search/", kept).status_code == 200
    assert client.get(reverse("catalog:list"), kept).context["table"] is not None
    assert client.delete(f"/api/v1/searches/{answer.json()['id']}/").status_code == 204
