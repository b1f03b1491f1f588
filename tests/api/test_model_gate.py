"""A model's way to the front over REST: the gate, promotion once, rolling back, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from astrid_site.core.models import AuditEntry
from detection.models import ScoringModel

Api = Callable[[str], APIClient]
Role = ScoringModel.Role
pytestmark = pytest.mark.django_db


def figures(**values: float) -> dict[str, Any]:
    told = {k: {"value": v, "low": v - 0.01, "high": v + 0.01} for k, v in values.items()}
    return {"n_real": 10, "n_bogus": 10, **told}


@pytest.fixture
def champion() -> ScoringModel:
    return ScoringModel.objects.get(role=Role.CHAMPION)


@pytest.fixture
def model(champion: ScoringModel) -> ScoringModel:
    """A shadow that was judged on the champion's samples and is as good."""
    other = ScoringModel.objects.get(family="features")
    for row in (champion, other):
        row.report = {
            "dataset_sha256": "d" * 64,
            "held_out": {"all": figures(auc_pr=0.97, calibration_error=0.02)},
        }
        row.save()
    return other


def address(model: ScoringModel, what: str) -> str:
    return f"/api/v1/models/{model.pk}/{what}/"


def test_the_gate_says_every_rule(api_as: Api, model: ScoringModel, champion: ScoringModel) -> None:
    told = api_as("viewer").get(address(model, "gate")).json()
    assert (told["champion"], told["is_open"]) == (str(champion.pk), True)
    by_name = {rule["name"]: rule["is_met"] for rule in told["rules"]}
    assert by_name["The weights are those that were judged"] is True
    assert by_name["Not worse than the champion by people's verdicts"] is None
    # before the champion there is no gate
    told = api_as("viewer").get(address(champion, "gate")).json()
    assert (told["is_open"], told["rules"]) == (False, [])


def test_a_repeated_promotion_is_answered_as_the_first_and_done_once(
    api_as: Api, model: ScoringModel, champion: ScoringModel
) -> None:
    client, key = api_as("researcher"), {"HTTP_IDEMPOTENCY_KEY": "to the front"}
    first = client.post(address(model, "promote"), **key)
    assert first.status_code == 202, first.content
    assert first.json()["champion"]["id"] == str(model.pk)
    assert client.get(f"/api/v1/jobs/{first.json()['job']}/").json()["kind"] == "rescore"
    again = client.post(address(model, "promote"), **key)
    assert (again.status_code, again.json()) == (202, first.json())
    assert AuditEntry.objects.filter(action="model.promote").count() == 1
    # under no key it is asked anew, and is the champion already
    assert client.post(address(model, "promote")).status_code == 409

    back = client.post(address(model, "roll-back"), {"reason": "loses faint ones"})
    assert (back.status_code, back.json()["champion"]["id"]) == (202, str(champion.pk))
    assert AuditEntry.objects.get(action="model.rollback").after["reason"] == "loses faint ones"
    # it is not the champion any more
    refused = client.post(address(model, "roll-back"), {"reason": "again"})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


def test_a_shut_gate_answers_with_the_rules_that_shut_it(api_as: Api, model: ScoringModel) -> None:
    model.report["held_out"]["all"] = figures(auc_pr=0.9, calibration_error=0.2)
    model.save()
    answer = api_as("researcher").post(address(model, "promote"))
    assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")
    told = answer.json()
    assert told["code"] == "gate_shut"
    failed = [rule["name"] for rule in told["rules"] if rule["is_met"] is False]
    assert {"AUCPR of 0.92 on held-out samples", "Probabilities are off by 0.05 at most"} <= {
        *failed
    }
    assert ScoringModel.objects.get(role=Role.CHAMPION) != model


def test_rolling_back_needs_a_reason_and_a_champion_before(
    api_as: Api, champion: ScoringModel
) -> None:
    client = api_as("researcher")
    assert client.post(address(champion, "roll-back")).json()["errors"]["reason"]
    refused = client.post(address(champion, "roll-back"), {"reason": "no better one"})
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "there is no earlier champion to go back to",
    )
