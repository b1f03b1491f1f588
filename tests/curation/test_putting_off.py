"""Objects that a person wants to see again only when something has happened."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from astrid_site.core.errors import ApplicationError
from curation.models import Assignment, Snooze
from curation.selectors import next_candidates
from curation.services import snooze, take_candidates, wake
from tests.catalog.factories import make_detection, make_member, make_object
from tests.observations.factories import make_user

pytestmark = pytest.mark.django_db


def test_what_waits_for_a_detection_comes_back_with_the_next_one() -> None:
    owner, curator, other = make_object(n_detections=2), make_user(), make_user()
    detection = make_member(owner)
    assert take_candidates(curator, limit=1) == [detection]
    snooze(detection, curator, condition="detection")
    assert next_candidates(curator) == []
    assert not Assignment.objects.exists(), "others may have it meanwhile"
    assert next_candidates(other) == [detection]
    owner.n_detections = 3
    owner.save()
    assert next_candidates(curator) == [detection]


def test_what_waits_for_a_magnitude_comes_back_when_it_is_brighter() -> None:
    owner, curator = make_object(brightest_magnitude=20.5), make_user()
    detection = make_member(owner)
    snooze(detection, curator, condition="magnitude", magnitude=19.0)
    assert next_candidates(curator) == []
    owner.brightest_magnitude = 18.9
    owner.save()
    assert next_candidates(curator) == [detection]


@pytest.mark.parametrize(("condition", "days"), [("day", 1), ("week", 7)])
def test_what_waits_for_a_time_comes_back_then(condition: str, days: int) -> None:
    detection, curator = make_detection(ra=None, dec=None), make_user()
    row = snooze(detection, curator, condition=condition)
    assert row.until is not None
    assert abs(row.until - timezone.now() - timedelta(days=days)) < timedelta(minutes=1)
    assert next_candidates(curator) == []
    Snooze.objects.update(until=timezone.now())
    assert next_candidates(curator) == [detection]


def test_the_last_wish_counts_and_can_be_taken_back() -> None:
    detection, curator = make_member(make_object()), make_user()
    snooze(detection, curator, condition="detection")
    snooze(detection, curator, condition="week")
    assert Snooze.objects.get().n_detections is None
    wake(detection, curator)
    assert next_candidates(curator) == [detection]


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"condition": "never"}, "condition"),
        ({"condition": "magnitude"}, "how bright"),
        ({"condition": "detection"}, "never detected again"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(wish: dict[str, Any], complaint: str) -> None:
    detection = make_detection(ra=None, dec=None)
    with pytest.raises(ApplicationError, match=complaint):
        snooze(detection, make_user(), **wish)
    assert not Snooze.objects.exists()
