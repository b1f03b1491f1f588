"""Workers draw what they did, while they do it and again when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import transaction

from astrid_site import control, redrawing
from astrid_site.core import tasking
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from astrid_site.imaging.pyramid import Views, decode_values, unpack_tile
from astrid_site.imaging.simulation import write_survey
from astrid_site.imaging.sky_survey import SkyConfig
from astrid_site.pages.stage_pictures import stage_pictures
from astrid_site.pages.view_files import open_views, stored_views
from differencing.models import DifferenceRun
from differencing.services.views import redraw as redraw_difference
from observations.models import Observation
from observations.services import ingest_file
from preprocessing.models import ScienceImage
from preprocessing.services import load_image
from tests.pipeline.drive import drain
from tests.web.factories import make_observation, make_survey

pytestmark = pytest.mark.django_db


@pytest.fixture
def frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observation:
    """The last of three small exposures, worked through from the file to the candidates."""
    monkeypatch.setattr(tasking, "ring", lambda *args, **kwargs: None)
    config = SkyConfig(
        seed=11, n_fields=1, n_epochs=4, shape=(360, 400), supernovae_per_field=6,
        variables_per_field=1, asteroids_per_field=0,
    )  # fmt: skip
    write_survey(config, tmp_path)
    survey = make_survey()
    for path in sorted(tmp_path.glob("*.fits")):
        found = ingest_file(path, survey=survey, file_name=path.name).observation
        assert found is not None
        with transaction.atomic():
            control.start(found)
    drain()
    return Observation.objects.filter(status="succeeded").latest("observed_at")


def values(views: Views, name: str) -> Any:
    """Every pixel of a layer."""
    level = views.layer(name)["levels"][0]
    return views.overview(name, max_side=max(level["shape"]))


def test_stages_draw_what_they_stored_and_can_draw_it_again(frame: Observation) -> None:
    """One test, because a frame that went all the way takes many seconds."""
    check_tiles(frame)
    check_numbers(frame)
    check_depth(frame)
    check_kernel_is_kept(frame)
    check_drawing_again(frame)


def check_tiles(frame: Observation) -> None:
    run = DifferenceRun.objects.select_related("file", "score_file").get(observation=frame)
    files = stored_views(frame)
    views = open_views(files["difference"])
    assert run.file is not None
    truth = load_image(run.file)
    found = values(views, "difference")
    step = views.layer("difference")["levels"][0]["step"]
    shown = np.isfinite(found)
    assert shown.mean() > 0.8
    error = np.abs(found - truth.data)[shown]
    assert (error <= 0.51 * np.hypot(step, truth.data[shown] / 1024)).all()
    assert step < 0.1 * np.sqrt(np.median(truth.variance))
    packed = views.tile("mask", 0, row=0, column=0)
    assert np.array_equal(unpack_tile(packed, (256, 256)), truth.mask[:256, :256])


def check_numbers(frame: Observation) -> None:
    run = DifferenceRun.objects.select_related("file").get(observation=frame)
    truth = load_image(run.file)
    limits = {row["name"]: row["passing"] for row in run.metrics["quality_limits"]}
    assert limits["chi2_stars_median"][0] == 0
    assert None in limits["n_blank"]
    assert run.metrics["mask_counts"]["NO_DATA"] == int((truth.mask & 1).astype(bool).sum())
    # a second measurement of the noise, on the finished score: within 3 % of one
    assert run.metrics["score_histogram"]["width"] == pytest.approx(1.0, abs=0.03)

    drawn = stage_pictures(frame)
    assert drawn.preprocess is not None
    assert drawn.preprocess.background
    assert len(drawn.preprocess.stars.rings[0].path) > 100
    assert drawn.difference is not None
    assert drawn.difference.residuals.rings[0].count > 3
    assert len(drawn.difference.quality) == len(limits)
    assert drawn.detect is not None
    assert drawn.detect.n_candidates >= drawn.detect.n_kept


def check_depth(frame: Observation) -> None:
    """Both limits of frame and difference are told, and are alike in a sky of plain noise."""
    for model in (ScienceImage, DifferenceRun):
        metrics = model.objects.get(observation=frame).metrics
        assert metrics["injected_depth"]["n_places"] == 400
        # the width of the noise is known to 3 %, and faint stars hide among it
        assert metrics["limiting_magnitude_injected"] == pytest.approx(
            metrics["limiting_magnitude"], abs=0.2
        )
    drawn = stage_pictures(frame)
    assert drawn.preprocess is not None
    assert drawn.difference is not None
    assert drawn.preprocess.depth is not None
    assert drawn.difference.depth is not None
    assert drawn.preprocess.residuals is not None
    assert [len(row) for row in drawn.preprocess.residuals.rows] == [3, 3, 3]
    assert "raw" in open_views(stored_views(frame)["preprocess"]).layer_names


def check_kernel_is_kept(frame: Observation) -> None:
    """The kernel is in no other product than the pictures, so these pass it on."""
    run = DifferenceRun.objects.get(observation=frame)
    assert run.preview_file is not None
    kernels = open_views(run.preview_file).facts["kernels"]
    assert len(kernels) == 9
    again = open_views(redraw_difference(run))
    assert again.facts["kernels"] == kernels
    assert again.picture("kernel") == open_views(run.preview_file).picture("kernel")


def check_drawing_again(frame: Observation) -> None:
    """As for a frame of an older version, from the stored products."""
    before = {stage: open_views(stored) for stage, stored in stored_views(frame).items()}
    ScienceImage.objects.filter(observation=frame).update(preview_file=None)
    DifferenceRun.objects.filter(observation=frame).update(preview_file=None)
    assert stored_views(frame) == {}
    metrics = DifferenceRun.objects.get(observation=frame).metrics

    with transaction.atomic():
        redrawing.request_redraw(frame)
    drain()

    job = Job.objects.get(kind=redrawing.REDRAW)
    assert job.state == JobState.DONE, job.cause
    after = {stage: open_views(stored) for stage, stored in stored_views(frame).items()}
    assert set(after) == {"preprocess", "difference"}
    for stage, names in (("preprocess", ["science", "noise"]), ("difference", ["score"])):
        for name in names:
            assert np.array_equal(
                values(before[stage], name), values(after[stage], name), equal_nan=True
            )
    # the sky that was taken out is no product, so it cannot be drawn again
    assert "background" not in after["preprocess"].layer_names
    assert after["preprocess"].facts["stars"] == before["preprocess"].facts["stars"]
    assert DifferenceRun.objects.get(observation=frame).metrics == metrics
    frame.refresh_from_db()
    assert frame.status == "succeeded"


def test_a_frame_without_a_calibrated_image_cannot_be_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasking, "ring", lambda *args, **kwargs: None)
    with transaction.atomic():
        redrawing.request_redraw(make_observation(make_survey(), 1))
    drain()
    job = Job.objects.get(kind=redrawing.REDRAW)
    assert (job.state, job.cause) == (JobState.SKIPPED, "no calibrated frame to draw")


def test_decoding_is_what_the_browser_does() -> None:
    """The browser's own arithmetic, written out: fold, hyperbolic sine, step."""
    codes = np.array([0, 1, 2, 200, 201, 30_000], dtype=np.uint16)
    level = [(int(code) >> 1) ^ -(int(code) & 1) for code in codes]
    expected = 0.5 * 1024 * np.sinh(np.array(level) / 1024)
    assert decode_values(codes, step=0.5) == pytest.approx(expected, rel=1e-6)
