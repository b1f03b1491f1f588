"""What people say of an object: on record with who and when, taken back but never removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from catalog import services
from catalog.models import ObjectStatement
from catalog.selectors import statements_of
from tests.api.fixtures import api_as, browser_as, people
from tests.catalog.factories import make_object

__all__ = ["api_as", "browser_as", "people"]
pytestmark = pytest.mark.django_db


def test_the_latest_word_holds_and_what_was_taken_back_does_not(people: dict[str, Any]) -> None:
    owner, who = make_object(), people["curator"]
    services.state(owner, who, kind="redshift", number=0.05, error=0.001)
    second = services.state(owner, people["admin"], kind="redshift", number=0.06)
    services.state(owner, who, kind="alias", text="SN 2026abc")
    services.state(owner, who, kind="alias", text="ZTF26xyz")
    told = statements_of(owner)
    assert told.redshift == second
    assert [row.text for row in told.aliases] == ["SN 2026abc", "ZTF26xyz"]
    services.withdraw(second, who)
    told = statements_of(owner)
    assert told.redshift is not None
    assert told.redshift.number == 0.05
    assert len(told.history) == 5


def test_a_curator_states_and_takes_back_on_the_page(
    browser_as: Callable[[str], Client],
) -> None:
    owner, client = make_object(), browser_as("curator")
    page = reverse("catalog:detail", args=[owner.pk])
    shown = client.get(page).content.decode()
    assert "csrfmiddlewaretoken" in shown.split("Add a name, host")[1].split("</form>")[0]
    address = reverse("catalog:state", args=[owner.pk])
    client.post(address, {"kind": "host", "text": "NGC 1234", "source": "by eye"})
    client.post(address, {"kind": "redshift", "number": "0.0123", "error": "0.0004"})
    shown = client.get(page).content.decode()
    assert "NGC 1234" in shown
    assert "0.0123 ± 0.0004" in shown
    refused = client.post(address, {"kind": "redshift", "text": "about a tenth"}, follow=True)
    assert "A redshift is a number" in refused.content.decode()
    host = ObjectStatement.objects.get(kind="host")
    back = reverse("catalog:withdraw", args=[owner.pk, host.pk])
    assert "Taken back" in client.post(back, follow=True).content.decode()
    assert "taken back before" in client.post(back, follow=True).content.decode()
    assert statements_of(owner).host is None
    assert (
        "<form"
        not in (
            browser_as("viewer")
            .get(page)
            .content.decode()
            .split("known-title")[2]
            .split("</section>")[0]
        )
    )


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"kind": "redshift"}, "number"),
        ({"kind": "redshift", "number": 25}, "number"),
        ({"kind": "alias", "text": " "}, "text"),
        ({"kind": "host", "text": "x", "number": 1}, "number"),
        ({"kind": "rumour", "text": "x"}, "kind"),
        ({"kind": "redshift", "number": 0.1, "error": 0}, "error"),
    ],
)
def test_rest_refuses_a_statement_that_says_nothing(
    told: dict[str, Any], field: str, api_as: Callable[[str], APIClient]
) -> None:
    address = f"/api/v1/objects/{make_object().pk}/statements/"
    answer = api_as("curator").post(address, told, format="json")
    assert answer.status_code == 400
    assert field in answer.json()["errors"]
    assert not ObjectStatement.objects.exists()


def test_rest_states_lists_and_takes_back_once(api_as: Callable[[str], APIClient]) -> None:
    client, address = api_as("curator"), f"/api/v1/objects/{make_object().pk}/statements/"
    made = client.post(address, {"kind": "classification", "text": "SN IIn"}, format="json")
    assert made.status_code == 201
    one = f"{address}{made.json()['id']}/"
    assert client.delete(one).status_code == 201
    assert client.delete(one).status_code == 409
    history = api_as("viewer").get(address).json()
    assert [row["withdrawn_by"] for row in history] == [None, "curator-person"]
    assert history[0]["withdraws"] == history[1]["id"]
    assert client.delete(f"{address}{history[0]['id']}/").status_code == 409
