"""Every model in service scores every candidate; the champion's score is shown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.apps import apps
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction

from astrid_site.core.models import AuditEntry, FileKind
from astrid_site.core.storage import ChecksumError
from detection.api import CandidateOutput
from detection.models import Detection, ScoringModel
from detection.services import adopt_shipped
from detection.services.scoring import (
    _LOADED,
    load_scorer,
    models_in_service,
    score_candidates,
)
from tests.catalog.factories import make_detection, make_detection_run

Role = ScoringModel.Role


def draw_cutouts(n: int) -> np.ndarray:
    """Points in the middle of noise, in science and difference."""
    rng = np.random.default_rng(11)
    planes = rng.normal(0.0, 1.0, (n, 4, 63, 63))
    y, x = np.mgrid[:63, :63] - 31
    source = 20.0 * np.exp(-0.5 * (x**2 + y**2) / 1.6**2)
    planes[:, 0] += source
    planes[:, 2] += source
    return planes.astype(np.float32)


def measured(n: int) -> list[Any]:
    return [SimpleNamespace(features={}) for _ in range(n)]


def rows_of(n: int) -> list[Detection]:
    run = make_detection_run()
    fields = {"run": run, "observation": run.observation, "is_kept": True}
    return [
        Detection(index=i, x=5.0, y=5.0, score=9.0, flux=9.0, flux_error=1.0, **fields)
        for i in range(n)
    ]


@pytest.mark.django_db
def test_every_model_is_asked_and_the_champion_is_shown() -> None:
    cutouts = draw_cutouts(3)
    cutouts[2, :3] = np.nan
    scored = score_candidates(measured(3), cutouts)
    rows = rows_of(3)
    scored.write(rows)
    scored.save()
    Detection.objects.bulk_create(rows)
    champion = ScoringModel.objects.get(role=Role.CHAMPION)
    first = rows[0].model_scores[0]
    assert first["model"] == str(champion.pk)
    assert (first["score"], first["score_error"]) == (rows[0].real_bogus, rows[0].real_bogus_error)
    assert first["score"] > 0.9
    assert 0.0 <= first["score_error"] < 0.2
    assert rows[0].scorer == str(champion)
    # nothing was measured, so the feature model cannot tell, and says why
    (other,) = [s for s in rows[0].model_scores if s["name"] == "feature model"]
    assert other["score"] is None
    assert other["reason"].startswith("not measured: ")


@pytest.mark.django_db
def test_without_its_pixels_a_candidate_has_an_explicit_null() -> None:
    cutouts = draw_cutouts(2)
    cutouts[1, :3] = np.nan
    rows = rows_of(2)
    score_candidates(measured(2), cutouts).write(rows)
    assert rows[0].real_bogus is not None
    assert (rows[1].real_bogus, rows[1].real_bogus_error, rows[1].scorer) == (None, None, "")
    assert rows[1].model_scores[0]["score"] is None
    assert rows[1].model_scores[0]["reason"] == "no pixels in the middle of science and difference"


@pytest.mark.django_db
def test_the_same_cutouts_score_the_same_alone_and_in_a_batch() -> None:
    cutouts = draw_cutouts(5)
    together = score_candidates(measured(5), cutouts).scores[0]
    again = score_candidates(measured(5), cutouts).scores[0]
    assert together == again
    for i in range(5):
        (alone,) = score_candidates(measured(1), cutouts[i : i + 1]).scores[0]
        # sums over a batch of another size are rounded differently, at the seventh digit
        assert alone.score == pytest.approx(together[i].score, abs=1e-5)


@pytest.mark.django_db
def test_a_frame_without_candidates_needs_no_cutouts() -> None:
    scored = score_candidates([], None)
    assert all(scores == [] for scores in scored.scores)
    assert set(scored.parameters.values()) == {m.sha256 for m in models_in_service()}


@pytest.mark.django_db
def test_weights_are_kept_when_first_used_and_read_from_there_after() -> None:
    score_candidates(measured(1), draw_cutouts(1)).save()
    for model in models_in_service():
        assert model.file is not None
        assert (model.file.sha256, model.file.kind) == (model.sha256, FileKind.WEIGHTS)
        _LOADED.clear()
        load_scorer(model)
    # bytes that are not what their name says are refused
    model = models_in_service()[0]
    path = Path(default_storage.path(model.file.key))
    path.chmod(0o640)
    path.write_bytes(b"something else")
    _LOADED.clear()
    with pytest.raises(ChecksumError, match="checksum differs"):
        load_scorer(model)
    path.unlink()


@pytest.mark.django_db
def test_shipped_weights_other_than_those_recorded_are_refused() -> None:
    model = ScoringModel.objects.get(role=Role.CHAMPION)
    model.sha256 = "0" * 64
    with pytest.raises(ValueError, match="other weights"):
        load_scorer(model)


@pytest.mark.django_db
def test_adopting_twice_changes_nothing_and_new_weights_take_their_part() -> None:
    before = list(ScoringModel.objects.order_by("pk").values())
    adopt_shipped(apps=apps)
    assert list(ScoringModel.objects.order_by("pk").values()) == before
    champion = ScoringModel.objects.get(role=Role.CHAMPION)
    # as if an older version of AstrID had shipped others
    ScoringModel.objects.filter(pk=champion.pk).update(sha256="1" * 64)
    adopt_shipped(apps=apps)
    champion.refresh_from_db()
    assert champion.role == Role.RETIRED
    new = ScoringModel.objects.get(role=Role.CHAMPION)
    assert new.is_shipped
    assert AuditEntry.objects.filter(action="model.shipped", subject_id=str(new.pk)).exists()


@pytest.mark.django_db
def test_a_champion_that_a_person_chose_stays_when_new_weights_are_shipped() -> None:
    ScoringModel.objects.filter(role=Role.CHAMPION).update(sha256="1" * 64, is_shipped=False)
    adopt_shipped(apps=apps)
    assert ScoringModel.objects.get(role=Role.CHAMPION).sha256 == "1" * 64
    assert ScoringModel.objects.filter(role=Role.SHADOW, family="network").count() == 1


@pytest.mark.django_db
def test_there_is_one_champion_and_an_error_belongs_to_a_score() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        ScoringModel.objects.filter(role=Role.SHADOW).update(role=Role.CHAMPION)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_detection(real_bogus_error=0.1)


@pytest.mark.django_db
def test_rest_tells_the_error_and_what_each_model_says() -> None:
    said = [{"model": "m", "name": "n", "version": "1", "score": 0.5, "score_error": 0.1}]
    told = CandidateOutput(
        make_detection(real_bogus=0.5, real_bogus_error=0.1, scorer="n 1", model_scores=said)
    ).data
    assert (told["real_bogus_error"], told["model_scores"]) == (0.1, said)
