"""The watch over the models: what harms the canaries is rolled back by itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from astrid_site import canaries as watch
from astrid_site import promotion
from astrid_site.core import jobs
from astrid_site.core.errors import TransientError
from astrid_site.core.models import AuditEntry, Event, Job
from benchmarks.learning.damage import shuffle_last_layer
from detection import services
from detection.models import CanaryResult, CanarySet, DetectionRun, ScoringModel
from detection.services.scoring import score_candidates
from detection.training.canaries import Canaries
from tests.catalog.factories import make_detection_run
from tests.detection.test_model_registry import make_scored
from tests.detection.test_scoring import draw_cutouts, measured, typical_features
from tests.web.factories import make_user

Role = ScoringModel.Role
pytestmark = pytest.mark.django_db
N_EACH = 24


def draw_canaries(n: int = N_EACH) -> Canaries:
    """Points, and single pixels that no point-spread function makes."""
    cutouts = draw_cutouts(2 * n)
    bogus = np.random.default_rng(5).normal(0.0, 1.0, (n, 4, 63, 63))
    bogus[:, (0, 2), 31, 31] += 60.0
    cutouts[n:] = bogus
    return Canaries(
        cutouts,
        [typical_features() for _ in range(2 * n)],
        np.arange(2 * n) < n,
        np.full(2 * n, 20.0),
        np.array([str(i // 5) for i in range(2 * n)]),
    )


@pytest.fixture
def canary_set() -> CanarySet:
    return services.keep_canaries(draw_canaries(), recipe={"drawn": True})


@pytest.fixture
def champion() -> ScoringModel:
    """The shipped network, made champion by a person."""
    network = ScoringModel.objects.get(family="network")
    services.promote(network, make_user("r", "researcher"), gate=[])
    network.refresh_from_db()
    return network


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Any]]:
    return shuffle_last_layer(tmp_path_factory.mktemp("damaged") / "damaged.safetensors")


def force_past_the_gate_for_a_test(damaged: tuple[bytes, dict[str, Any]]) -> ScoringModel:
    """Registered through the official door; then made champion without asking the gate."""
    model = services.register_network(damaged[0], about=damaged[1], report={})
    services.promote(model, None, gate=["forced past the gate for a test"])
    model.refresh_from_db()
    return model


def work(kind: str) -> None:
    """Do all that is queued of one kind, as a worker does."""
    for job in Job.objects.filter(kind=kind, state="queued").order_by("-priority", "created_at"):
        jobs.run(job.pk)


def test_canaries_are_kept_by_their_content(canary_set: CanarySet) -> None:
    assert services.keep_canaries(draw_canaries(), recipe={}) == canary_set
    assert services.keep_canaries(draw_canaries(3), recipe={}) != canary_set
    assert (canary_set.n_real, canary_set.n_bogus) == (N_EACH, N_EACH)


def test_the_first_result_tells_figures_and_is_never_changed(
    canary_set: CanarySet, champion: ScoringModel
) -> None:
    work("canaries")
    result = CanaryResult.objects.get(model=champion)
    assert (result.occasion, result.harm, result.problem) == ("registration", "", "")
    assert result.figures["completeness"]["value"] >= 0.95
    assert result.figures["false_alarms"]["value"] <= 0.1
    assert result.ms_per_candidate > 0
    with pytest.raises(IntegrityError), transaction.atomic():
        CanaryResult.objects.update(harm="it was fine")


def test_a_damaged_champion_goes_by_itself_and_scores_come_back(
    canary_set: CanarySet, champion: ScoringModel, damaged: tuple[bytes, dict[str, Any]]
) -> None:
    row = make_scored()
    before = (row.real_bogus, row.scorer)
    model = force_past_the_gate_for_a_test(damaged)
    services.rescore_run(row.run)
    row.refresh_from_db()
    assert row.scorer == str(model)

    work("canaries")
    model.refresh_from_db(), champion.refresh_from_db()
    assert (model.role, champion.role) == (Role.RETIRED, Role.CHAMPION)
    result = CanaryResult.objects.get(model=model)
    assert "than the champion before it" in result.harm
    entry = AuditEntry.objects.get(action="model.rollback")
    assert entry.actor is None
    assert entry.after["reason"] == f"rolled back by itself because {result.harm}"
    assert Event.objects.filter(kind="model.harm", subject_id=model.pk).count() == 1
    work("rescore")
    row.refresh_from_db()
    assert (row.real_bogus, row.scorer) == before

    client = Client()
    client.force_login(make_user("v", "viewer"))
    page = client.get(reverse("models:detail", args=[model.pk])).content.decode()
    assert "rolled back by itself because it" in page
    # nobody can promote it again: the gate knows what the canaries said
    rule = next(r for r in promotion.gate(model, champion) if "canaries" in r.name)
    assert rule.is_met is False


def test_weights_that_do_not_verify_keep_frames_waiting_and_end_the_champion(
    canary_set: CanarySet, damaged: tuple[bytes, dict[str, Any]], champion: ScoringModel
) -> None:
    model = force_past_the_gate_for_a_test(damaged)
    Job.objects.filter(kind="canaries").delete()
    path = Path(default_storage.path(model.file.key))
    path.chmod(0o640)
    path.write_bytes(b"half a file")
    services.scoring._LOADED.clear()
    with pytest.raises(TransientError, match="cannot be asked"):
        score_candidates(measured(1), draw_cutouts(1))
    make_detection_run()
    assert model.pk in {job.subject_id for job in watch.begin_round_when_due()}
    work("canaries")
    path.unlink()
    model.refresh_from_db()
    assert model.role == Role.RETIRED
    assert "checksum differs" in CanaryResult.objects.get(model=model).harm
    assert score_candidates(measured(1), draw_cutouts(1)).models[0] == champion


def test_a_shadow_that_cannot_be_read_is_retired(
    canary_set: CanarySet, damaged: tuple[bytes, dict[str, Any]]
) -> None:
    model = services.register_network(damaged[0], about=damaged[1], report={})
    path = Path(default_storage.path(model.file.key))
    path.chmod(0o640)
    path.write_bytes(b"half a file")
    work("canaries")
    path.unlink()
    model.refresh_from_db()
    assert model.role == Role.RETIRED
    entry = AuditEntry.objects.get(action="model.role", subject_id=str(model.pk))
    assert "checksum differs" in entry.after["reason"]


def test_a_harmful_champion_without_one_before_stays_and_says_so(
    canary_set: CanarySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = ScoringModel.objects.get(role=Role.CHAMPION)
    ScoringModel.objects.filter(pk=champion.pk).update(sha256="0" * 64)
    services.request_canaries(champion)
    work("canaries")
    champion.refresh_from_db()
    assert champion.role == Role.CHAMPION
    said = AuditEntry.objects.get(action="model.harm").after["reason"]
    assert said.endswith("it stays, because there is no earlier champion to go back to")


def test_a_round_is_due_once_something_was_searched_and_not_twice() -> None:
    assert watch.begin_round_when_due() == []
    make_detection_run()
    assert len(watch.begin_round_when_due()) == len(services.models_in_service())
    assert watch.begin_round_when_due() == []


def test_frames_that_wait_go_before_the_first_canaries_are_simulated() -> None:
    run = make_detection_run()
    job = Job.objects.create(kind="preprocess", subject_id=run.observation_id, config_version="1")
    assert watch.begin_round_when_due() == []
    DetectionRun.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert watch.begin_round_when_due()
    Job.objects.exclude(pk=job.pk).delete()
    job.delete()
    DetectionRun.objects.update(created_at=timezone.now())
    assert watch.begin_round_when_due()
