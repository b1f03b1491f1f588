"""Every model in service scores every candidate; the champion's score is shown."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.apps import apps
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction

from astrid_site.core.models import AuditEntry, FileKind, Job
from astrid_site.core.storage import ChecksumError
from detection.api import CandidateOutput
from detection.models import Detection, ScoringModel
from detection.networks.combined import CombinedModel
from detection.networks.feature_model import WEIGHTS_FILE
from detection.services import adopt_shipped, promote
from detection.services.scoring import (
    _LOADED,
    load_scorer,
    models_in_service,
    score_candidates,
)
from tests.catalog.factories import make_detection, make_detection_run
from tests.web.factories import make_user

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


def typical_features() -> dict[str, float]:
    """The means of what the feature model was trained on."""
    content = json.loads(WEIGHTS_FILE.read_text())
    return {feature["name"]: feature["mean"] for feature in content["features"]}


def measured(n: int, features: dict[str, float] | None = None) -> list[Any]:
    told = typical_features() if features is None else features
    return [SimpleNamespace(features=told) for _ in range(n)]


def rows_of(n: int) -> list[Detection]:
    run = make_detection_run()
    fields = {"run": run, "observation": run.observation, "is_kept": True}
    return [
        Detection(index=i, x=5.0, y=5.0, score=9.0, flux=9.0, flux_error=1.0, **fields)
        for i in range(n)
    ]


def said_by(row: Detection, family: str) -> dict[str, Any]:
    key = str(ScoringModel.objects.get(family=family).pk)
    return next(said for said in row.model_scores if said["model"] == key)


@pytest.mark.django_db
def test_every_model_is_asked_and_the_champion_is_shown() -> None:
    scored = score_candidates(measured(2), draw_cutouts(2))
    rows = rows_of(2)
    scored.write(rows)
    scored.save()
    Detection.objects.bulk_create(rows)
    champion = ScoringModel.objects.get(role=Role.CHAMPION)
    assert champion.family == "combined"
    first, row = rows[0].model_scores[0], rows[0]
    assert first["model"] == str(champion.pk)
    assert (first["score"], first["score_error"]) == (row.real_bogus, row.real_bogus_error)
    assert row.scorer == str(champion)
    network, features = said_by(row, "network"), said_by(row, "features")
    assert network["score"] > 0.9
    assert 0.0 <= network["score_error"] < 0.2
    assert features["score_error"] is None
    # the logits of both, weighed as fitted
    terms = CombinedModel.load()
    logit = (
        terms.feature_weight * np.log(features["score"] / (1 - features["score"]))
        + terms.network_weight * np.log(network["score"] / (1 - network["score"]))
        + terms.intercept
    )
    assert first["score"] == pytest.approx(1 / (1 + np.exp(-logit)))


@pytest.mark.django_db
def test_where_a_part_cannot_tell_the_score_is_an_explicit_null_with_its_reason() -> None:
    cutouts = draw_cutouts(2)
    cutouts[1, :3] = np.nan
    rows = rows_of(2)
    score_candidates(measured(2), cutouts).write(rows)
    assert rows[0].real_bogus is not None
    assert (rows[1].real_bogus, rows[1].real_bogus_error, rows[1].scorer) == (None, None, "")
    assert rows[1].model_scores[0]["score"] is None
    assert rows[1].score_problem == "no pixels in the middle of science and difference"
    assert said_by(rows[1], "features")["score"] is not None
    # nothing was measured: the feature model cannot tell, and says what it misses
    score_candidates(measured(2, {}), draw_cutouts(2)).write(rows)
    assert rows[0].real_bogus is None
    assert rows[0].score_problem.startswith("not measured: ")
    assert [said["name"] for said in rows[0].other_scores] == ["real-bogus network"]


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
    chosen, person = ScoringModel.objects.get(family="features"), make_user("r", "researcher")
    promote(chosen, person, gate=[])
    ScoringModel.objects.filter(family="combined").update(sha256="1" * 64)
    adopt_shipped(apps=apps)
    assert ScoringModel.objects.get(role=Role.CHAMPION) == chosen
    old, new = ScoringModel.objects.filter(family="combined").order_by("created_at")
    assert (old.role, new.role) == (Role.RETIRED, Role.SHADOW)


@pytest.mark.django_db
def test_another_family_may_take_the_place_of_the_champion_that_was_shipped_before() -> None:
    ScoringModel.objects.filter(family="combined").delete()
    ScoringModel.objects.filter(family="network").update(role=Role.CHAMPION)
    make_detection()
    adopt_shipped(apps=apps)
    new = ScoringModel.objects.get(role=Role.CHAMPION)
    assert new.family == "combined"
    assert ScoringModel.objects.get(family="network").role == Role.SHADOW
    # a worker brings the candidates that are there up to date
    assert Job.objects.filter(kind="rescore", subject_id=new.pk).exists()


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
