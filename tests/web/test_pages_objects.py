"""The table of objects with its cone search, and the page of one."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from catalog.models import LightCurvePoint
from tests.web import factories
from tests.web.factories import World


@pytest.mark.parametrize(
    ("ra", "dec", "radius", "n_found"),
    [
        ("{ra:.6f}", "{dec:.6f}", "5", 1),
        ("{ra:.6f}", "{dec:.6f}", "600", 2),
        ("{hms}", "{dms}", "5", 1),
        ("0", "-89", "60", 0),
    ],
)
def test_the_cone_search_takes_degrees_and_sexagesimal(
    sky: World, client_of: Callable[[str], Client], ra: str, dec: str, radius: str, n_found: int
) -> None:
    from astrid_site.core.templatetags.astro import dec_dms, ra_hms

    one = sky.objects[0]
    words = {"ra": one.ra, "dec": one.dec, "hms": ra_hms(one.ra), "dms": dec_dms(one.dec)}
    query = {"ra": ra.format(**words), "dec": dec.format(**words), "radius": radius}
    answer = client_of("viewer").get(reverse("catalog:list"), query)
    rows = answer.context["table"].rows
    assert len(rows) == n_found
    if n_found:
        assert rows[0].pk == one.pk


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"ra": "ten", "dec": "2"}, "neither degrees"),
        ({"ra": "10:61:00", "dec": "2"}, "below 60"),
        ({"ra": "400", "dec": "2"}, "between 0 and 360"),
        ({"ra": "10"}, "needs both RA and Dec"),
        ({"ra": "10", "dec": "2", "radius": "nan"}, "Radius"),
    ],
)
def test_a_position_that_cannot_be_read_is_explained(
    client_of: Callable[[str], Client], query: dict[str, str], words: str
) -> None:
    answer = client_of("viewer").get(reverse("catalog:list"), query)
    assert words in answer.content.decode()


def test_an_object_page_shows_its_light_curve_every_epoch_and_both_notations(
    client_of: Callable[[str], Client],
) -> None:
    world = World(factories.make_survey())
    for number in (0, 3, 6):
        flux = 4000.0 if number else 6000.0
        factories.make_epoch(
            world, number, sources=[] if number == 3 else [(60.0, 70.0, flux)], turn_deg=0
        )
    owner = world.objects[0]
    client = client_of("curator")
    text = client.get(reverse("catalog:detail", args=[owner.pk])).content.decode()
    assert text.count("fainter than") >= 1
    assert text.count("data-mark") == 4 * 3  # two quantities, two widths, three epochs
    assert f"{owner.ra:.6f}" in text
    epochs = re.findall(r'data-strip="(/objects/[^"]+/epochs/[^"]+)"', text)
    assert len(set(epochs)) == 1
    assert client.get(epochs[0])["Content-Type"] == "image/png"


def test_an_object_page_tells_units_digits_and_limits_of_both_kinds(
    client_of: Callable[[str], Client],
) -> None:
    world = World(factories.make_survey())
    factories.make_epoch(world, 0, sources=[(60.0, 70.0, 4000.0)], turn_deg=0)
    owner = world.objects[0]
    difference = LightCurvePoint.objects.get(astro_object=owner)
    difference.flux, difference.flux_error, difference.zero_point = 59.44, 140.0, 23.9
    difference.magnitude = difference.magnitude_error = None
    difference.limiting_magnitude = 16.54
    difference.save()
    total = LightCurvePoint.objects.get(pk=difference.pk)
    total.pk, total._state.adding = uuid4(), True
    total.kind, total.difference_run, total.limiting_magnitude = "total", None, 17.35
    total.flux, total.flux_error = 3456.7, 21.0
    total.save()
    text = client_of("viewer").get(reverse("catalog:detail", args=[owner.pk])).content.decode()
    cells = [" ".join(cell.split()) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", text)]
    assert "60 ± 140" in cells
    assert "3,457 ± 21" in cells
    assert {"16.54", "17.35"} <= set(cells)
    assert text.count("[µJy]") >= 4  # the chart of differences, wide and narrow, and two columns
    assert "60 ± 140 µJy" in text
    assert "59.44" not in text
    assert "it grows with the seeing" in text


def test_objects_without_a_date_are_paged_last_and_none_is_lost(
    client_of: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    from catalog.models import AstroObject

    for number in range(7):
        AstroObject.objects.create(
            name=f"AstrID J{number}",
            ra=10.0 + number,
            dec=0.0,
            healpix14=number,
            last_detected_at=factories.START if number % 2 else None,
        )
    client, seen, cursor = client_of("viewer"), [], ""
    monkeypatch.setattr(
        "catalog.selectors.search.search_page.__kwdefaults__", {"cursor": "", "size": 3}
    )
    for _ in range(3):
        table = client.get(reverse("catalog:list"), {"cursor": cursor}).context["table"]
        seen += [(row.last_detected_at is None, row.name) for row in table.rows]
        cursor = table.after
    assert len(set(seen)) == 7
    assert [is_undated for is_undated, _ in seen] == [False] * 3 + [True] * 4
    assert cursor == ""


def test_a_faded_source_is_charted_in_flux_and_a_risen_one_in_magnitudes(db: None) -> None:
    from catalog import pages as catalog_pages

    world = World(factories.make_survey())
    factories.make_epoch(world, 0, sources=[(60.0, 70.0, 4000.0)], turn_deg=0)
    owner = world.objects[0]
    risen = catalog_pages.light_curve(owner)
    assert risen.telling is risen.magnitude
    point = catalog_pages.selectors.light_curve(owner)[0]
    point.flux, point.magnitude, point.magnitude_error = -4000.0, None, None
    point.save()
    faded = catalog_pages.light_curve(owner)
    assert faded.telling is faded.flux
