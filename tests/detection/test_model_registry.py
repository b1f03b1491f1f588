"""A model's life: registered by its hash, judged at the gate, promoted, shown, rolled back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from astrid_site import promotion
from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import AuditEntry, FileKind, Job
from astrid_site.core.storage import put_bytes
from astrid_site.pages.models import model_page
from catalog.services import refresh_best_scores
from curation.models import Verdict
from detection import services
from detection.models import Detection, ScoringModel
from tests.catalog.factories import (
    make_detection,
    make_detection_run,
    make_member,
    make_object,
)
from tests.detection.test_scoring import draw_cutouts, typical_features
from tests.web.factories import make_user

Role = ScoringModel.Role
pytestmark = pytest.mark.django_db


@pytest.fixture
def champion() -> ScoringModel:
    return ScoringModel.objects.get(role=Role.CHAMPION)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Random weights, with a record and with the figures of good ones."""
    import torch

    from detection.networks.real_bogus import RealBogusNetwork
    from detection.networks.real_bogus_weights import report_path, save_ensemble

    torch.manual_seed(4)
    path = tmp_path / "other.safetensors"
    sha256 = save_ensemble(
        [RealBogusNetwork()], path, temperature=1.0, offset=0.0, record={"n_alerts": 0, "plan": {}}
    )
    report = {
        "weights_sha256": sha256,
        "dataset_sha256": "d" * 64,
        "simulated": {"all": figures(auc_pr=0.97, calibration_error=0.02), "surveys": {}},
    }
    report_path(path).write_text(json.dumps(report), encoding="utf-8")
    return path


def figures(**values: float) -> dict[str, Any]:
    intervals = {k: {"value": v, "low": v - 0.01, "high": v + 0.01} for k, v in values.items()}
    return {"n_real": 10, "n_bogus": 10, **intervals}


def register(weights: Path) -> ScoringModel:
    call_command("register_model", weights, stdout=io.StringIO())
    return ScoringModel.objects.get(is_shipped=False)


def judge_on_the_same(champion: ScoringModel) -> None:
    """As if the champion had been judged on the samples that the new model was judged on."""
    champion.report = {
        "dataset_sha256": "d" * 64,
        "simulated": {"all": figures(auc_pr=0.95, calibration_error=0.01), "surveys": {}},
    }
    champion.save()


def test_weights_are_registered_once_and_score_in_the_shadow(weights: Path) -> None:
    model = register(weights)
    assert (model.role, model.sha256[:12]) == (Role.SHADOW, model.version)
    assert model.file is not None
    assert register(weights) == model
    assert model in services.models_in_service()


def test_weights_that_are_not_what_their_record_says_are_refused(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(CommandError, match="their record is of"):
        call_command("register_model", weights)
    assert not ScoringModel.objects.filter(is_shipped=False).exists()


def test_without_a_report_the_gate_stays_shut(weights: Path, champion: ScoringModel) -> None:
    weights.with_suffix(".report.json").unlink()
    model = register(weights)
    with pytest.raises(ApplicationError, match="no report came"):
        promotion.promote(model, make_user("r", "researcher"))
    champion.refresh_from_db()
    assert champion.role == Role.CHAMPION


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"auc_pr": 0.9, "calibration_error": 0.02}, "AUCPR of 0.92"),
        ({"auc_pr": 0.97, "calibration_error": 0.2}, "off by 0.05 at most"),
    ],
)
def test_a_model_that_is_not_good_enough_is_told_why(
    weights: Path, damage: dict[str, float], says: str
) -> None:
    model = register(weights)
    model.report["simulated"]["all"] = figures(**damage)
    model.save()
    with pytest.raises(ApplicationError, match=says):
        promotion.promote(model, make_user("r", "researcher"))


def test_on_the_same_data_it_must_reach_the_interval_of_the_champion(
    weights: Path, champion: ScoringModel
) -> None:
    model = register(weights)
    champion.report = {
        "dataset_sha256": "d" * 64,
        "simulated": {"all": figures(auc_pr=0.99, calibration_error=0.01)},
    }
    rule = next(r for r in promotion.gate(model, champion) if "same held-out" in r.name)
    assert rule.is_met is False
    champion.report["simulated"]["all"]["auc_pr"]["low"] = 0.965
    rule = next(r for r in promotion.gate(model, champion) if "same held-out" in r.name)
    assert rule.is_met is True
    champion.report["dataset_sha256"] = "e" * 64
    rule = next(r for r in promotion.gate(model, champion) if "same held-out" in r.name)
    assert rule.is_met is None


def judge_candidates(model: ScoringModel, champion: ScoringModel, n: int = 24) -> None:
    """Candidates that the champion tells apart and the model does not, decided by a person."""
    curator, run = make_user("judge"), make_detection_run()
    rng = np.random.default_rng(9)
    for i in range(2 * n):
        is_real = i % 2 == 0
        said = [
            {"model": str(champion.pk), "score": 0.9 if is_real else 0.1},
            {"model": str(model.pk), "score": float(rng.random())},
        ]
        row = make_detection(run, ra=10.0 + i, model_scores=said)
        label = Verdict.Label.REAL if is_real else Verdict.Label.BOGUS
        Verdict.objects.create(detection=row, curator=curator, label=label)


def test_a_model_that_people_contradict_does_not_pass(
    weights: Path, champion: ScoringModel
) -> None:
    model = register(weights)
    rule = promotion.gate(model, champion)[-1]
    assert rule.is_met is None
    assert "20 of each are needed" in rule.says
    judge_candidates(model, champion)
    rule = promotion.gate(model, champion)[-1]
    assert rule.is_met is False
    assert promotion.gate(champion, model)[-1].is_met is True


def make_scored() -> Detection:
    """A candidate as it is stored before a new model came."""
    cutouts = io.BytesIO()
    np.save(cutouts, draw_cutouts(1))
    stored = put_bytes(
        cutouts.getvalue(), kind=FileKind.CUTOUTS, name="c.npy", media_type="application/x-npy"
    )
    features = typical_features()
    row = make_detection(make_detection_run(cutouts_file=stored), index=0, features=features)
    assert services.rescore_run(row.run) == 1
    row.refresh_from_db()
    return row


def rescore(model: ScoringModel) -> Job:
    """Do what the worker does with the job."""
    from types import SimpleNamespace

    context: Any = SimpleNamespace(subject_id=model.pk, progress=lambda done, says: None)
    promotion.run_rescore(context).save()
    return Job.objects.get(kind="rescore", subject_id=model.pk)


def test_promotion_changes_the_scores_and_rolling_back_brings_them_back(
    weights: Path, champion: ScoringModel
) -> None:
    row, person = make_scored(), make_user("r", "researcher")
    make_member(owner := make_object(), row)
    refresh_best_scores()
    before = row.real_bogus
    assert row.scorer == str(champion)

    model = register(weights)
    with pytest.raises(ApplicationError, match="different data sets"):
        promotion.promote(model, person)
    judge_on_the_same(champion)
    promotion.promote(model, person)
    assert rescore(model).state == "queued"
    row.refresh_from_db(), owner.refresh_from_db()
    assert row.scorer == str(model)
    assert row.real_bogus != before
    assert owner.best_real_bogus == row.real_bogus
    assert services.rescore_run(row.run) == 0
    champion.refresh_from_db()
    assert champion.role == Role.SHADOW
    entry = AuditEntry.objects.get(action="model.promote")
    assert (entry.actor, entry.before["model"]) == (person, str(champion))
    assert any("AUCPR" in line for line in entry.after["gate"])

    promotion.roll_back(person, reason="it loses faint ones")
    rescore(champion)
    row.refresh_from_db(), owner.refresh_from_db(), model.refresh_from_db()
    assert (row.real_bogus, row.scorer) == (before, str(champion))
    assert owner.best_real_bogus == before
    assert model.role == Role.RETIRED
    assert AuditEntry.objects.get(action="model.rollback").after["reason"] == "it loses faint ones"
    with pytest.raises(ApplicationError, match="no earlier champion"):
        promotion.roll_back(person, reason="again")


def test_the_champion_is_never_retired_and_there_is_one_challenger(
    weights: Path, champion: ScoringModel
) -> None:
    person, model = make_user("r", "researcher"), register(weights)
    with pytest.raises(ApplicationError, match="is the champion"):
        services.set_role(champion, Role.RETIRED, person)
    other = ScoringModel.objects.get(family="features")
    services.set_role(other, Role.CHALLENGER, person)
    services.set_role(model, Role.CHALLENGER, person)
    other.refresh_from_db()
    assert other.role == Role.SHADOW


def test_a_person_promotes_and_rolls_back_on_the_page(
    weights: Path, champion: ScoringModel
) -> None:
    model, client = register(weights), Client()
    judge_on_the_same(champion)
    client.force_login(make_user("r", "researcher"))
    page = client.get(reverse("models:detail", args=[model.pk])).content.decode()
    assert "Promote to champion" in page
    assert "disabled" not in page
    client.post(reverse("models:promote", args=[model.pk]))
    model.refresh_from_db()
    assert model.role == Role.CHAMPION
    page = client.get(reverse("models:detail", args=[model.pk])).content.decode()
    assert str(champion) in page
    back = reverse("models:roll_back", args=[model.pk])
    assert "say why" in client.post(back, follow=True).content.decode()
    client.post(back, {"reason": "worse"})
    champion.refresh_from_db()
    assert champion.role == Role.CHAMPION


def test_a_shut_gate_has_no_button_and_a_viewer_has_none_at_all(weights: Path) -> None:
    model, client = register(weights), Client()
    model.report = {}
    model.save()
    client.force_login(make_user("r", "researcher"))
    page = client.get(reverse("models:detail", args=[model.pk])).content.decode()
    assert "disabled" in page
    assert (
        "gate is shut"
        in client.post(reverse("models:promote", args=[model.pk]), follow=True).content.decode()
    )
    client.force_login(make_user("v", "viewer"))
    page = client.get(reverse("models:detail", args=[model.pk])).content.decode()
    assert "Promote" not in page


def test_the_page_draws_the_curves_of_its_report(champion: ScoringModel) -> None:
    points = [[0.0, 0.0], [0.1, 0.9], [1.0, 1.0]]
    drawn = {"roc": points, "pr": points, "reliability": [[0.1, 0.0, 40], [0.9, 1.0, 10]]}
    champion.report = {"simulated": {"all": figures(auc_pr=0.9), "curves": drawn, "surveys": {}}}
    page = model_page(champion)
    assert [len(chart.lines) for chart in page.curves] == [1, 1, 1]
    # 174 units are one to the right, 180 upwards: a tenth and nine tenths
    assert "L59.4 24.0L" in page.curves[0].lines[0].path
    large, small = page.curves[2].circles
    assert large.radius > small.radius
    assert "of 40 scored about 0.10, 0 % are real" in large.text


def test_rest_tells_who_is_champion(champion: ScoringModel) -> None:
    client = Client()
    client.force_login(make_user("v", "viewer"))
    told = client.get("/api/v1/models/").json()["results"]
    assert [row["id"] for row in told if row["role"] == "champion"] == [str(champion.pk)]
    assert client.get(f"/api/v1/models/{champion.pk}/").json()["sha256"] == champion.sha256
