"""The page of champion against challenger: scores, disagreements, verdicts, drift, a proposal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from astrid_site.pages import comparison
from detection.models import Detection, ScoringModel
from tests.catalog.factories import make_detection, make_detection_run
from tests.detection.test_model_registry import judge_candidates
from tests.web.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def champion() -> ScoringModel:
    return ScoringModel.objects.get(role="champion")


@pytest.fixture
def other() -> ScoringModel:
    return ScoringModel.objects.get(family="features")


def test_what_both_say_who_is_right_and_where_they_are_apart(
    champion: ScoringModel, other: ScoringModel
) -> None:
    judge_candidates(other, champion)
    Detection.objects.update(is_kept=True)
    page = comparison.compare_models(other, champion)
    kinds = [dot.kind for dot in page.dots]
    assert (kinds.count("real"), kinds.count("bogus")) == (24, 24)
    # the champion's scores are 0.9 and 0.1: to the right and to the left
    assert {dot.x for dot in page.dots if dot.kind == "real"} == {90.0}
    gaps = [abs(row.champion - row.other) for row in page.disagreements]
    assert gaps == sorted(gaps, reverse=True)
    assert len(gaps) == comparison.MAX_SHOWN
    told = {pair.name: (pair.champion, pair.other) for pair in page.figures}
    assert told["AUCPR"][0].startswith("1.000")
    assert told["AUCPR above the champion"][1].startswith("-0.")
    assert not page.is_gate_open

    client = Client()
    client.force_login(make_user("v", "viewer"))
    text = client.get(reverse("models:compare", args=[other.pk])).content.decode()
    assert "24 real and 24 bogus that both scored" in text
    assert text.count('<circle class="real"') == text.count('<circle class="bogus"') == 24
    assert "The gate is shut" in text
    own = client.get(reverse("models:compare", args=[champion.pk]))
    assert own["Location"] == reverse("models:detail", args=[champion.pk])


def find(champion: ScoringModel, *, days_ago: float, level: float, n: int = 60) -> None:
    """Candidates of one day, with a feature that follows the sky of that day."""
    run, rng = make_detection_run(), np.random.default_rng(int(days_ago))
    rows: list[Any] = [
        make_detection(
            run,
            ra=10.0 + i / 100,
            is_kept=True,
            features={"sharpness": float(rng.normal(level))},
            model_scores=[{"model": str(champion.pk), "score": float(rng.random())}],
        )
        for i in range(n)
    ]
    when = timezone.now() - timedelta(days=days_ago)
    Detection.objects.filter(pk__in=[row.pk for row in rows]).update(created_at=when)


def test_a_changed_feature_drifts_and_a_training_is_proposed(
    champion: ScoringModel, other: ScoringModel
) -> None:
    page = comparison.compare_models(other, champion)
    assert (page.drift, page.proposal, page.agreeing) == ([], "", None)
    find(champion, days_ago=90, level=0.0)
    page = comparison.compare_models(other, champion)
    assert page.drift[0].drift.psi is None
    assert page.proposal == ""
    find(champion, days_ago=2, level=3.0)
    page = comparison.compare_models(other, champion)
    by_name = {row.name: row.drift for row in page.drift}
    assert by_name["sharpness"].is_notable
    assert not by_name["score"].is_notable
    assert page.proposal == "what it sees has changed (sharpness)"
    client = Client()
    client.force_login(make_user("v", "viewer"))
    text = client.get(reverse("models:compare", args=[other.pk])).content.decode()
    assert reverse("datasets:list") in text
    assert "A new training is worth it" in text
