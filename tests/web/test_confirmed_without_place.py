"""A discovery on a frame without world coordinates: no object, but it does not vanish."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from curation.selectors import confirmed_without_place
from curation.services import give_verdict, withdraw_verdict
from tests.web import factories
from tests.web.factories import World


@pytest.fixture
def unplaced(db: None) -> World:
    """A frame without WCS and one with, a candidate on each."""
    world = World(factories.make_survey())
    factories.make_epoch(world, 0, sources=[(60.0, 70.0, 4000.0)], has_wcs=False)
    factories.make_epoch(world, 1, sources=[(60.0, 70.0, 4000.0)])
    return world


def test_a_confirmed_candidate_without_a_place_is_counted_and_listed(
    unplaced: World, client_of: Callable[[str], Client]
) -> None:
    loose, placed = unplaced.detections
    curator = factories.make_user("cora")
    for detection in (loose, placed):
        give_verdict(detection, curator, label="real")
    client = client_of("viewer")
    funnel = client.get(reverse("tonight", args=["funnel"])).content.decode()
    (address,) = re.findall(r'<a href="([^"]+)">1 more without an object</a>', funnel)
    listed = client.get(address).content.decode()
    assert reverse("observations:detail", args=[loose.observation_id]) in listed
    assert reverse("observations:detail", args=[placed.observation_id]) not in listed
    assert "no world coordinates" in listed
    assert address in client.get(reverse("catalog:list")).content.decode()


def test_only_the_last_answer_that_decides_anything_counts(unplaced: World) -> None:
    loose = unplaced.detections[0]
    one, other = factories.make_user("one"), factories.make_user("other")
    counts = []
    give_verdict(loose, one, label="real")
    counts.append(confirmed_without_place().count())
    give_verdict(loose, other, label="unsure")
    counts.append(confirmed_without_place().count())
    give_verdict(loose, other, label="bogus")
    counts.append(confirmed_without_place().count())
    withdraw_verdict(loose, other)
    counts.append(confirmed_without_place().count())
    withdraw_verdict(loose, one)
    counts.append(confirmed_without_place().count())
    assert counts == [1, 1, 0, 1, 0]


def test_the_card_says_that_there_will_be_no_object_and_what_helps(
    unplaced: World, client_of: Callable[[str], Client]
) -> None:
    loose, placed = unplaced.detections
    client = client_of("curator")
    address = reverse("curation:vet_candidate", args=[loose.pk])
    card = " ".join(client.get(address).content.decode().split())
    assert "No object and no light curve are made" in card
    assert "its header holds a WCS" in card
    assert "forced photometry has not run" not in card
    other = client.get(reverse("curation:vet_candidate", args=[placed.pk])).content.decode()
    assert "No object and no light curve" not in other


def test_the_card_says_why_significance_and_flux_over_error_differ(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    address = reverse("curation:vet_candidate", args=[sky.detections[0].pk])
    card = " ".join(client_of("curator").get(address).content.decode().split())
    assert "without the candidate's own light" in card
    assert "the flux over its own error" in card
    assert "on a star or galaxy the significance is the lower of the two" in card
