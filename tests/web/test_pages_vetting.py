"""The vetting page: what a candidate shows, and which decisions are taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields

import pytest
from django.test import Client
from django.urls import reverse

from detection.algorithms.cuts import CutConfig, apply_cuts
from detection.algorithms.measurement import Measurement
from detection.pages import CUT_NAMES
from tests.web import factories
from tests.web.factories import World


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"label": "splendid"}, 422),
        ({"label": "withdrawn"}, 422),
        ({"label": "real", "seconds": "-1"}, 422),
        ({"label": "real", "seconds": "nan"}, 422),
        ({"label": "bogus", "reason": "because"}, 422),
        ({"label": "real", "detection": "7"}, 422),
        ({"label": "real", "detection": "00000000-0000-0000-0000-000000000000"}, 404),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused_with_a_reason_and_not_stored(
    sky: World, client_of: Callable[[str], Client], told: dict[str, str], status: int
) -> None:
    from curation.models import Verdict

    answer = client_of("curator").post(
        reverse("curation:decide"),
        {"detection": str(sky.detections[0].pk)} | told,
        headers={"Accept": "application/json"},
    )
    assert answer.status_code == status
    assert answer.json()["error"]
    assert not Verdict.objects.exists()


def test_one_curators_decisions_leave_the_queue_of_another_as_it_is(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    decided = str(sky.detections[0].pk)
    curator, other = client_of("curator"), client_of("researcher")
    curator.post(reverse("curation:decide"), {"detection": decided, "label": "real"})
    waiting = {
        name: set(re.findall(r'data-candidate="([^"]+)"', page.content.decode()))
        for name, page in (
            ("curator", curator.get(reverse("curation:queue"))),
            ("other", other.get(reverse("curation:queue"))),
        )
    }
    assert waiting["other"] - waiting["curator"] == {decided}
    assert other.post(reverse("curation:undo")).status_code == 302
    assert (
        len(re.findall("data-candidate=", curator.get(reverse("curation:queue")).content.decode()))
        == 1
    )


def test_a_candidate_shows_every_cut_and_who_scored_it_and_warns(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    detection = sky.detections[0]
    detection.mask_flags, detection.x = 2, 12.0
    detection.save()
    text = (
        client_of("curator")
        .get(reverse("curation:vet_candidate", args=[detection.pk]))
        .content.decode()
    )
    assert text.count('<th scope="row">') == len(factories.CUTS)
    assert "saturated pixels beside it" in text
    assert "12 pix from the edge of the frame" in text
    assert "feature model 1" in text
    assert "N up, E left" in text


def test_every_cut_has_a_name_for_people_and_no_power_of_ten(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    detection = sky.detections[0]
    names = [cut.name for cut in apply_cuts(_a_measurement(), CutConfig())]
    assert set(names) == set(CUT_NAMES)
    values = [3.23e-5, -3.23e-5, *range(1, len(names) - 1)]
    detection.cuts = [
        {"name": n, "value": v, "limit": 0.4, "margin": 0.5, "kept": True}
        for n, v in zip(names, values, strict=True)
    ]
    detection.save()
    address = reverse("curation:vet_candidate", args=[detection.pk])
    text = client_of("curator").get(address).content.decode()
    shown = re.findall(r'<th scope="row">(.*?)</th>\s*<td class="number">(.*?)</td>', text)
    assert sorted(name for name, _ in shown) == sorted(CUT_NAMES.values())
    assert {"&lt; 0.001", "&gt; \u22120.001"} <= {value for _, value in shown}
    assert not any("e" in value for _, value in shown)


def _a_measurement() -> Measurement:
    """Any measurement: only the names of the cuts are asked."""
    told = {
        f.name: 1.0 for f in fields(Measurement) if f.name not in ("sign", "mask_flags", "features")
    }
    return Measurement(**told, sign=1, mask_flags=0, features={})


def test_a_frame_without_wcs_is_shown_as_on_the_detector_and_says_so(
    client_of: Callable[[str], Client],
) -> None:
    world = World(factories.make_survey())
    factories.make_epoch(world, 0, sources=[(60.0, 70.0, 4000.0)], has_wcs=False)
    text = client_of("curator").get(reverse("curation:vet")).content.decode()
    assert "as on the detector: no WCS" in text
    assert "10 pix" in text
    assert "no sky position" in text
