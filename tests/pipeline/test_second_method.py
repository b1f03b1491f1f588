"""One setting makes the pipeline ask a second method about every candidate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from astrid_site.imaging.simulation import SkyConfig, write_survey
from detection.models import Detection, DetectionRun
from tests.pipeline.drive import drain

CONFIG = SkyConfig(
    seed=5,
    n_fields=1,
    n_epochs=3,
    n_template_epochs=1,
    shape=(320, 320),
    supernovae_per_field=8,
    asteroids_per_field=0,
    peak_snr_range=(30.0, 80.0),
)


@pytest.mark.django_db
def test_every_stored_candidate_has_the_second_methods_view(tmp_path: Path, settings: Any) -> None:
    settings.SECOND_METHOD = "alard_lupton"
    write_survey(CONFIG, tmp_path)
    call_command("ingest", str(tmp_path), "--survey", "Simulated", verbosity=0)
    drain()
    run = DetectionRun.objects.order_by("-n_kept")[0]
    assert run.parameters["second_method"] == "alard_lupton"
    assert run.metrics["second_method"] == "alard_lupton"
    assert run.metrics["second_problem"] == ""
    rows = list(Detection.objects.filter(run=run))
    assert len(rows) >= 2
    views = [row.second_opinion for row in rows]
    assert all(view["method"] == "alard_lupton" for view in views)
    assert run.metrics["n_agreeing"] == sum(bool(view["agrees"]) for view in views)
    sure = [row for row in rows if row.is_kept and abs(row.score) > 15]
    assert sure
    assert all(row.second_opinion["agrees"] for row in sure)
