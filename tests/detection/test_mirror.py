"""MLflow follows the table of models: versions by hash, parts as aliases."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from astrid_site.core.models import Job
from detection import services
from detection.models import ScoringModel
from tests.web.factories import make_user

Role = ScoringModel.Role


@pytest.mark.django_db
# of MLflow's own dependencies
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_holds_every_model_once_and_its_aliases_follow_the_parts(
    tmp_path: Path, settings: Any
) -> None:
    settings.MLFLOW_URI = f"sqlite:///{tmp_path / 'mlflow' / 'm.sqlite3'}"
    said = io.StringIO()
    call_command("mirror_models", stdout=said, stderr=io.StringIO())
    assert "champion: version" in said.getvalue()
    from mlflow import MlflowClient

    client = MlflowClient(settings.MLFLOW_URI, settings.MLFLOW_URI)
    champion = ScoringModel.objects.get(role=Role.CHAMPION)
    version = client.get_model_version_by_alias("real_bogus", "champion")
    assert version.tags["sha256"] == champion.sha256
    run = client.get_run(version.run_id)
    figure = champion.report["simulated"]["all"]["auc_pr"]
    assert run.data.metrics["simulated.all.auc_pr.value"] == figure["value"]
    names = {item.path for item in client.list_artifacts(version.run_id)}
    assert names == {"weights", "report.json"}

    features = ScoringModel.objects.get(family="features")
    services.set_role(features, Role.CHALLENGER, make_user("r", "researcher"))
    job = Job.objects.get(kind=services.MIRROR, subject_id=features.pk)
    assert job.state == "queued"
    context: Any = SimpleNamespace(progress=lambda done, says: None)
    services.run_mirror(context)
    challenger = client.get_model_version_by_alias("real_bogus", "challenger")
    assert challenger.tags["sha256"] == features.sha256
    assert len(client.search_model_versions("name='real_bogus'")) == ScoringModel.objects.count()


@pytest.mark.django_db
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_server_that_does_not_answer_is_a_passing_trouble(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    settings.MLFLOW_URI = "http://127.0.0.1:9"
    with pytest.raises(CommandError, match="MLflow"):
        call_command("mirror_models", stdout=io.StringIO(), stderr=io.StringIO())
