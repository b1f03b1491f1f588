"""The page of one's own work, and scores that are hidden until one has decided."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from astrid_site.accounts.models import User
from curation.models import Verdict
from curation.pages.vetting import Blinding, is_hidden
from curation.services import give_verdict
from tests.catalog.factories import make_detection, make_member, make_object
from tests.observations.factories import make_user
from tests.web.factories import World

pytestmark = pytest.mark.django_db


def test_a_hidden_score_is_nowhere_on_the_card_and_is_not_stored(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client = client_of("curator")
    client.post("/vet/me/scores/", {"blinding": "hidden"})
    answer = client.get("/vet/")
    detection = answer.context["card"].detection
    text = answer.content.decode()
    assert "hidden until you have decided" in text
    assert f"{detection.real_bogus:.2f}</span>" not in text
    assert ", model 0" not in text
    client.post("/vet/decide/", {"detection": detection.pk, "label": "real"})
    verdict = Verdict.objects.get()
    assert (verdict.score_hidden, verdict.score_shown) == (True, None)
    again = client.get(f"/vet/{detection.pk}/").content.decode()
    assert "hidden until you have decided" not in again


def test_as_it_comes_the_score_is_shown_and_stored(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client = client_of("curator")
    detection = client.get("/vet/").context["card"].detection
    client.post("/vet/decide/", {"detection": detection.pk, "label": "real"})
    verdict = Verdict.objects.get()
    assert (verdict.score_hidden, verdict.score_shown) == (False, detection.real_bogus)


def test_half_of_the_scores_are_hidden_and_the_same_ones_every_time() -> None:
    curator = make_user()
    rows = [make_detection() for _ in range(60)]
    hidden = [is_hidden(Blinding.HALF, row.pk, curator) for row in rows]
    assert hidden == [is_hidden(Blinding.HALF, row.pk, curator) for row in rows]
    # 30 of 60 with a scatter of 3.9: four of these either way
    assert 14 <= sum(hidden) <= 46


def test_the_page_tells_agreement_with_others_and_with_the_model(
    client_of: Callable[[str], Client],
) -> None:
    client, other = client_of("curator"), make_user()
    me = User.objects.get(username="curator")
    for number in range(12):
        detection = make_member(
            make_object(), make_detection(real_bogus=0.9 if number % 2 else 0.1, scorer="m")
        )
        mine = "real" if number % 2 else "bogus"
        theirs = mine if number < 9 else "unsure"
        give_verdict(detection, other, label=theirs)
        give_verdict(detection, me, label=mine, seconds=2.0, score_hidden=number < 6)
    page = client.get("/vet/me/").context["page"]
    assert page.answers == [("real", "real", 6), ("bogus", "bogus", 6)]
    assert (page.hidden.n, page.hidden.n_of, page.shown.n_of) == (6, 6, 6)
    assert (page.with_others.n, page.with_others.n_of) == (12, 12)
    assert [(c.n_common, c.n_same, c.kappa) for c in page.colleagues] == [(9, 9, None)]
    assert page.median_seconds == 2.0


def test_a_wish_that_is_none_changes_nothing(client_of: Callable[[str], Client]) -> None:
    client = client_of("curator")
    answer = client.post("/vet/me/scores/", {"blinding": "maybe"}, follow=True)
    assert "nothing was changed" in answer.content.decode()
    assert answer.context["now"] == "shown"
