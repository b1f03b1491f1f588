"""The registry as MLflow shows it: every model a version, its part an alias.

The table of models is the truth; MLflow follows it, whenever a part changes and as often as asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from astrid_site.core import jobs
from astrid_site.core.errors import TransientError
from astrid_site.core.jobs import JobContext, NextJob, Outcome
from astrid_site.core.models import Job
from astrid_site.core.stages import Progress
from astrid_site.core.status import JobState
from astrid_site.imaging.scratch import scratch_folder
from detection.models import ScoringModel
from detection.services.scoring import open_weights

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MIRROR = "mirror_models"
#: Name of the experiment and of the registered model.
NAME = "real_bogus"
_EMBEDDED = "sqlite:///"
#: As many as MLflow takes at a time.
_MAX_METRICS = 900
#: An alias names one version: of several shadows it is the one that came last.
_ALIASES = (ScoringModel.Role.CHAMPION, ScoringModel.Role.CHALLENGER, ScoringModel.Role.SHADOW)


def request_mirror(model: ScoringModel) -> Job:
    """Have a worker tell MLflow, in the caller's transaction."""
    job = NextJob(kind=MIRROR, subject_id=model.pk, config_version="1")
    return jobs.submit(job, revive=True)


def run_mirror(context: JobContext) -> Outcome:
    """Tell MLflow of every model; it is tried again while a server does not answer."""
    mirror_models(context.progress)
    return Outcome(JobState.DONE, save=lambda: ())


def mirror_models(progress: Progress) -> dict[str, str]:
    """Bring MLflow up to date; the version of each alias.

    Raises
    ------
    TransientError
        If MLflow does not do what it is asked.
    """
    progress(0.0, "opening MLflow")
    client = _open()
    from mlflow.exceptions import MlflowException

    models = list(ScoringModel.objects.order_by("created_at", "pk"))
    try:
        experiment = _experiment(client)
        versions = {}
        for i, model in enumerate(models):
            progress((i + 1) / (len(models) + 1), f"{model}")
            versions[model.pk] = _version(client, model, experiment=experiment)
            client.set_model_version_tag(NAME, versions[model.pk], "role", model.role)
        return _set_aliases(client, models, versions)
    except MlflowException as error:
        msg = f"MLflow: {error}"
        raise TransientError(msg) from error


def _open() -> MlflowClient:
    # MLflow would tell its makers of its use
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    uri = settings.MLFLOW_URI
    if uri.startswith(_EMBEDDED):
        Path(uri.removeprefix(_EMBEDDED)).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: MlflowClient) -> str:
    """The experiment and the registered model, made where they are not there yet."""
    if not client.search_registered_models(f"name='{NAME}'"):
        client.create_registered_model(NAME, description="Real-bogus scores of AstrID.")
    found = client.get_experiment_by_name(NAME)
    if found is not None:
        return str(found.experiment_id)
    is_embedded = settings.MLFLOW_URI.startswith(_EMBEDDED)
    artifacts = (Path(settings.DATA_DIR) / "mlflow" / "artifacts").as_uri()
    return str(client.create_experiment(NAME, artifact_location=artifacts if is_embedded else None))


def _version(client: MlflowClient, model: ScoringModel, *, experiment: str) -> str:
    """The version of these weights, registered with its run where it is not there yet."""
    found: Sequence[ModelVersion] = client.search_model_versions(
        f"name='{NAME}' and tags.sha256='{model.sha256}'"
    )
    if found:
        return str(found[0].version)
    tags = {"sha256": model.sha256, "family": model.family, "astrid_id": str(model.pk)}
    run = client.create_run(experiment, run_name=str(model), tags=tags)
    _log(client, run.info.run_id, model)
    with open_weights(model) as path, scratch_folder() as folder:
        client.log_artifact(run.info.run_id, str(path), "weights")
        report = folder / "report.json"
        report.write_text(json.dumps(model.report, indent=1, sort_keys=True), encoding="utf-8")
        client.log_artifact(run.info.run_id, str(report))
    client.set_terminated(run.info.run_id)
    made = client.create_model_version(
        NAME, source=str(run.info.artifact_uri), run_id=run.info.run_id, tags=tags
    )
    return str(made.version)


def _log(client: MlflowClient, run_id: str, model: ScoringModel) -> None:
    """How it was trained as parameters, its figures as metrics."""
    from mlflow.entities import Metric, Param

    told = _flat(model.record.get("record", {}))
    params = [Param(name, str(value)[:500]) for name, value in told]
    when = round(model.created_at.timestamp() * 1000)
    metrics = [Metric(name, value, when, 0) for name, value in _figures(model.report)]
    client.log_batch(run_id, metrics=metrics[:_MAX_METRICS], params=params)
    epochs = [
        Metric(name, value, when, step)
        for name, value, step in _epochs(model.record.get("record", {}).get("history", []))
    ]
    for first in range(0, len(epochs), _MAX_METRICS):
        client.log_batch(run_id, metrics=epochs[first : first + _MAX_METRICS])


def _epochs(history: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, int]]:
    """Every figure of every epoch: its name with the member, its value, the epoch."""
    return [
        (f"training.member{row['member']}.{name}", float(row[name]), int(row["epoch"]))
        for row in history
        for name in ("loss", "validation_aucpr")
        if row[name] is not None
    ]


def _set_aliases(
    client: MlflowClient, models: list[ScoringModel], versions: Mapping[Any, str]
) -> dict[str, str]:
    wanted = {m.role: versions[m.pk] for m in models if m.role in _ALIASES}
    for role in _ALIASES:
        if role in wanted:
            client.set_registered_model_alias(NAME, role.value, wanted[role])
        else:
            client.delete_registered_model_alias(NAME, role.value)
    return {str(role): version for role, version in wanted.items()}


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Single values of a record, by their path; lists are left to the report."""
    pairs: list[tuple[str, Any]] = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, list):
            pairs.append((f"{prefix}{name}", value))
    return pairs


def _figures(report: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Figures of a report with their bounds, by their path; kinds are left to the file."""
    pairs = []
    for name, value in _flat(report, prefix):
        if "kinds." in name:
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            path = "".join(c if c.isalnum() or c in "_.-/" else "_" for c in name)
            pairs.append((path, float(value)))
    return pairs
