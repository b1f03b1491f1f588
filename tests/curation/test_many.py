"""Many candidates called bogus at once, and the tenth of them that comes back."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from astrid_site.accounts.models import User
from astrid_site.core.errors import ApplicationError
from curation.models import SpotCheck, Verdict
from curation.pages.mosaic import slip_rate
from curation.pages.vetting import make_card, tally
from curation.selectors import WORST_FIRST, next_candidates, undecided
from curation.services import (
    MAX_AT_ONCE,
    checks,
    give_verdict,
    judge_many,
    take_back_many,
    take_with_checks,
)
from detection.models import Detection
from tests.catalog.factories import make_detection, make_member, make_object
from tests.observations.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def all_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ONE_IN", 1)


def keys(rows: list[Detection]) -> list[Any]:
    return [row.pk for row in rows]


def test_the_rest_is_bogus_and_what_was_pulled_out_is_open() -> None:
    curator, rows = make_user(), [make_detection() for _ in range(5)]
    verdicts = judge_many(curator, keys(rows), kept=[rows[2].pk], batch=uuid4())
    assert {v.detection_id for v in verdicts} == set(keys(rows)) - {rows[2].pk}
    assert {v.label for v in verdicts} == {"bogus"}
    assert undecided(curator, keys(rows)) == [rows[2].pk]


def test_a_page_sent_twice_is_stored_once() -> None:
    curator, rows, batch = make_user(), [make_detection() for _ in range(3)], uuid4()
    first = judge_many(curator, keys(rows), kept=[], batch=batch)
    assert judge_many(curator, keys(rows), kept=[], batch=batch) == first
    assert Verdict.objects.count() == 3


def test_all_of_a_page_is_taken_back_but_what_was_decided_since() -> None:
    curator, rows, batch = make_user(), [make_detection() for _ in range(3)], uuid4()
    judge_many(curator, keys(rows), kept=[], batch=batch)
    give_verdict(rows[0], curator, label="real")
    assert take_back_many(curator, batch=batch) == 2
    assert undecided(curator, keys(rows)) == keys(rows[1:])
    assert not SpotCheck.objects.filter(answered_at=None).exists()


@pytest.mark.parametrize("shown", [MAX_AT_ONCE + 1, 0])
def test_too_many_or_unknown_ones_are_refused_and_nothing_is_stored(shown: int) -> None:
    names = [uuid4() for _ in range(shown)] or [make_detection().pk, uuid4()]
    with pytest.raises(ApplicationError, match=r"at most|does not exist"):
        judge_many(make_user(), names, kept=[], batch=uuid4())
    assert not Verdict.objects.exists()


def test_about_one_in_ten_comes_back() -> None:
    curator, rows = make_user(), [make_detection() for _ in range(50)]

    for _ in range(8):
        checks.draw_checks(curator, keys(rows), batch=uuid4())
    n_drawn = SpotCheck.objects.count()
    # 40 of 400 with a scatter of 6: five of these either way
    assert 10 <= n_drawn <= 70


@pytest.mark.usefixtures("all_come_back")
def test_what_comes_back_is_among_the_others_and_does_not_tell() -> None:
    curator = make_user()
    many = [make_detection(real_bogus=0.1, scorer="m") for _ in range(4)]
    judge_many(curator, keys(many), kept=[], batch=uuid4())
    fresh = [make_detection(real_bogus=0.9, scorer="m") for _ in range(12)]
    taken = take_with_checks(curator, limit=8)
    back = [row for row in taken if row in many]
    assert [taken.index(row) for row in back] == [3, 7]
    assert sum(row in fresh for row in taken) == 6
    card = make_card(back[0], curator)
    assert card.verdict is None
    assert card.others == []
    assert tally(curator).n_waiting == 12 + 4


@pytest.mark.usefixtures("all_come_back")
def test_what_one_says_then_is_the_slip_rate_and_it_counts() -> None:
    curator, owner = make_user(), make_object()
    many = [make_member(owner), *(make_detection() for _ in range(4))]
    judge_many(curator, keys(many), kept=[], batch=uuid4())
    assert slip_rate(curator).value is None
    give_verdict(many[0], curator, label="real")
    for row in many[1:4]:
        give_verdict(row, curator, label="bogus")
    found = slip_rate(curator)
    assert (found.n, found.n_of, found.value) == (1, 4, 0.25)
    # Wilson's interval for 1 of 4
    assert (found.low, found.high) == pytest.approx((0.0456, 0.6994), abs=1e-3)
    owner.refresh_from_db()
    assert owner.state == "confirmed"
    assert [row.pk for row in take_with_checks(curator, limit=5)] == [many[4].pk]


def test_the_least_promising_come_first_on_a_page_of_many() -> None:
    curator: User = make_user()
    rows = [make_detection(real_bogus=p, scorer="m") for p in (0.5, 0.1, 0.9)]
    unscored = make_detection()
    found = next_candidates(curator, order=WORST_FIRST)
    assert found == [rows[1], rows[0], rows[2], unscored]
