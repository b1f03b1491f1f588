"""The quality table of a frame says of a number that was not measured that it was not."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.test import Client
from django.urls import reverse

from differencing.algorithms.quality import LIMITS, judge
from differencing.algorithms.subtraction import Metric
from differencing.models import DifferenceRun
from tests.web.factories import World


def test_numbers_that_were_not_measured_are_shown_as_such(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    metrics: dict[str, Metric] = {
        "model_flux_error": None,
        "model_shift_pix": None,
        "assumed_flux_error": 0.004,
        "assumed_shift_pix": 0.01,
        "score_over_3_sigma": 0.058,
        "score_over_5_sigma": 0.01,
        "score_width_all": None,
    }
    verdict, reasons = judge(metrics)
    limits = [{"name": one.name, "passing": [0, 0.02], "tolerable": [0, 0.15]} for one in LIMITS]
    for run in DifferenceRun.objects.all():
        run.metrics = run.metrics | metrics | {"quality_limits": limits}
        run.quality, run.quality_reasons = DifferenceRun.Quality(verdict), list(reasons)
        run.save()
    address = reverse("observations:detail", args=[sky.observations[0].pk])
    page = client_of("viewer").get(address).content.decode()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "the match in brightness not measured" in text
    assert "the match in position not measured" in text
    assert "the width of the significance over the whole frame not measured" in text
    assert "the part of the frame beyond 3 sigma 5.8 % at most 2 %" in text
    assert "beyond 3 sigma than noise and real sources explain (5.8 %, limit 2 %)" in text
    assert "no star to judge by: errors of 0.4 % in brightness and 0.01 pixels" in text
    assert "None" not in text
