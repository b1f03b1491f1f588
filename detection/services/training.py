"""Training as work in the ledger: live figures, a checkpoint each epoch, a model at the end."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction

from astrid_site.core import audit, jobs
from astrid_site.core.errors import ApplicationError
from astrid_site.core.events import publish
from astrid_site.core.jobs import JobContext, NextJob, Outcome
from astrid_site.core.models import FileKind, Job
from astrid_site.core.provenance import code_version
from astrid_site.core.status import JobState
from astrid_site.core.storage import put_bytes
from astrid_site.monitoring.energy import Energy, EnergyMeter
from detection.models import DataSet, ScoringModel, TrainingRun
from detection.services import datasets
from detection.services.registry import register_network, request_rescore, set_role
from detection.services.scoring import open_weights

if TYPE_CHECKING:
    from astrid_site.accounts.models import User
    from detection.training.fine_tuning import TuningPlan

TRAIN = "train_network"
_WEIGHTS = "trained.safetensors"
Role = ScoringModel.Role
#: Of a training on labels: at most so many epochs a member, and what it becomes if no worse.
_DEFAULTS: Mapping[str, Any] = {"epochs": 12, "seed": 1, "role": Role.CHALLENGER.value}


def network_to_start_from() -> ScoringModel:
    """The network that scores for the champion: itself, or the one that a combined model asks.

    Raises
    ------
    ApplicationError
        If there is none.
    """
    champion = ScoringModel.objects.filter(role=Role.CHAMPION).first()
    networks = ScoringModel.objects.filter(family=ScoringModel.Family.NETWORK)
    found = None
    if champion is not None and champion.family == ScoringModel.Family.NETWORK:
        found = champion
    elif champion is not None:
        found = networks.filter(sha256=champion.record.get("network_sha256", "")).first()
    found = found or networks.exclude(role=Role.RETIRED).order_by("created_at").first()
    if found is None:
        msg = "there is no network to start from; run `manage.py migrate`: it registers ours"
        raise ApplicationError(msg)
    return found


def request_training(
    dataset: DataSet, actor: User | None, *, parameters: Mapping[str, Any] | None = None
) -> TrainingRun:
    """Have a worker train the network on with a data set.

    ``parameters``: ``epochs`` at most for each member, ``seed``, and ``role``, the part that the
    model is to play if it is no worse (``challenger`` or ``shadow``).

    Raises
    ------
    ApplicationError
        If the data set holds too little, with what is missing.
    """
    if missing := datasets.lacking(dataset):
        msg = f"{dataset} cannot be learnt from: {'; '.join(missing)}"
        raise ApplicationError(msg)
    with transaction.atomic():
        run = TrainingRun.objects.create(
            dataset=dataset,
            start=network_to_start_from(),
            parameters={**_DEFAULTS, **(parameters or {})},
            requested_by=actor,
            code_version=code_version(),
        )
        audit.record(actor, "training.request", run, after={"dataset": str(dataset)})
        jobs.submit(NextJob(kind=TRAIN, subject_id=run.pk, config_version="1"))
    return run


def job_of(run: TrainingRun) -> Job | None:
    """The job that does a training; it says how far it is."""
    return Job.objects.filter(kind=TRAIN, subject_id=run.pk).first()


def run_training(context: JobContext) -> Outcome:
    """Do a training; after a kill it goes on from its last epoch and ends with the same weights."""
    run = TrainingRun.objects.select_related("dataset__file", "start__file").get(
        pk=context.subject_id
    )
    if run.model is not None:
        return Outcome(JobState.DONE)
    folder = work_folder(run)
    keeper = _Keeper(run, context)
    try:
        report = train(run, folder=folder, on_epoch=keeper.epoch)
    except ValueError as error:
        return Outcome(JobState.FAILED, cause=str(error))
    path = folder / _WEIGHTS
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if about["sha256"] == run.start.sha256:
        cause = f"no epoch was better than {run.start}, so nothing is registered"
        return Outcome(JobState.SKIPPED, cause=cause, save=partial(_forget, folder))
    content = path.read_bytes()
    about["record"] |= _provenance(run)
    # kept before the transaction that registers it
    put_bytes(content, kind=FileKind.WEIGHTS, name=path.name, media_type="application/octet-stream")
    save = partial(_save, run, content, about=about, report=report, folder=folder)
    return Outcome(JobState.DONE, save=save)


def train(run: TrainingRun, *, folder: Path, on_epoch: Any) -> dict[str, Any]:
    """Train in a folder, which then holds the weights with their record; returns the report."""
    from detection.training.fine_tuning import fine_tune

    with datasets.opened(run.dataset) as data, open_weights(run.start) as start:
        return fine_tune(
            data,
            start=start,
            about=run.start.record,
            plan=plan_of(run.parameters),
            folder=folder,
            output=folder / _WEIGHTS,
            on_epoch=on_epoch,
        )


def plan_of(parameters: Mapping[str, Any]) -> TuningPlan:
    """The plan of a training with what was asked for in place of the defaults."""
    from detection.training.fine_tuning import TuningPlan

    asked = {name: parameters[name] for name in ("epochs", "seed") if name in parameters}
    plan = TuningPlan()
    return replace(plan, config=replace(plan.config, **asked))


def work_folder(run: TrainingRun) -> Path:
    """Where a training keeps its checkpoints until it ends."""
    return Path(settings.DATA_DIR) / "training" / str(run.pk)


class _Keeper:
    """Writes down each epoch of a training, its time and its energy, while the job is ours."""

    def __init__(self, run: TrainingRun, context: JobContext) -> None:
        self._run, self._context = run, context
        self._meter = EnergyMeter(watts_per_core=settings.WATTS_PER_CORE)
        self._since = time.monotonic()

    def epoch(self, history: list[dict[str, Any]], n_epochs: int) -> None:
        """Take down the history so far; raises when the job was cancelled."""
        self._context.check()
        now = time.monotonic()
        run = TrainingRun.objects.get(pk=self._run.pk)
        _add_energy(run, self._meter.take())
        run.seconds += now - self._since
        run.history = history
        run.save(update_fields=["history", "seconds", "energy_j", "energy_source"])
        self._since = now
        n_members = int(self._run.start.record["n_members"])
        done = _share_done(history, n_epochs, n_members)
        self._context.progress(done, _words(history, n_members))


def _add_energy(run: TrainingRun, used: Energy) -> None:
    """Add what was used; once a part of it is not known, the whole is not."""
    is_first = not run.history and run.energy_j is None
    if used.joules is None or not (is_first or run.energy_source == used.source):
        run.energy_j, run.energy_source = None, ""
        return
    run.energy_j, run.energy_source = (run.energy_j or 0.0) + used.joules, used.source


def _share_done(history: Sequence[Mapping[str, Any]], n_epochs: int, n_members: int) -> float:
    """Share of the epochs at most; members that stopped early count as done."""
    if not history:
        return 0.0
    last = history[-1]
    return min(float(last["member"] / n_members + last["epoch"] / n_epochs), 1.0)


def _words(history: Sequence[Mapping[str, Any]], n_members: int) -> str:
    if not history:
        return "reading the data set"
    last = history[-1]
    return (
        f"member {last['member'] + 1} of {n_members}, epoch {last['epoch']}: "
        f"AUCPR {last['validation_aucpr']:.4f}"
    )


def _provenance(run: TrainingRun) -> dict[str, Any]:
    told = TrainingRun.objects.get(pk=run.pk)
    return {
        "training": str(run.pk),
        "dataset": {"id": str(run.dataset_id), "name": str(run.dataset)},
        "code_version": code_version(),
        "seconds": round(told.seconds, 1),
        "energy": {"joules": told.energy_j, "source": told.energy_source or None},
    }


def _save(
    run: TrainingRun,
    content: bytes,
    *,
    about: dict[str, Any],
    report: dict[str, Any],
    folder: Path,
) -> Sequence[NextJob]:
    """Register what came out; a challenger only where it is no worse than what it came from."""
    model = register_network(content, about=about, report=report)
    wanted, gain = run.parameters.get("role"), report["gain"]["value"]
    is_no_worse = gain is not None and gain >= 0
    if wanted == Role.CHALLENGER and is_no_worse and model.role == Role.SHADOW:
        set_role(model, Role.CHALLENGER, run.requested_by)
    TrainingRun.objects.filter(pk=run.pk).update(model=model)
    # it is asked about the candidates that are there, so that it can be compared with the champion
    request_rescore(model)
    publish("model.changed", subject_id=model.pk, payload={"trained": str(model)})
    return _forget(folder)


def _forget(folder: Path) -> Sequence[NextJob]:
    """Remove the checkpoints once the end is committed."""
    transaction.on_commit(partial(shutil.rmtree, folder, ignore_errors=True), robust=True)
    return ()


def go_on(run: TrainingRun, actor: User | None) -> None:
    """Queue a training that was cancelled or failed again; it goes on from its last epoch.

    Raises
    ------
    ApplicationError
        If it has not stopped, or has come to its end.
    """
    job = job_of(run)
    if run.model is not None or job is None or not jobs.retry(job):
        msg = "only a training that was stopped can go on"
        raise ApplicationError(msg)
    audit.record(actor, "training.go_on", run)


def stop(job: Job, actor: User | None, subject: DataSet | TrainingRun) -> None:
    """Cancel the job of a data set or of a training; a worker at it stops at its next step.

    Raises
    ------
    ApplicationError
        If it has ended.
    """
    with transaction.atomic():
        if not jobs.cancel(job):
            msg = f"it has ended already: {job.state}"
            raise ApplicationError(msg)
        audit.record(actor, f"{job.kind}.cancel", subject)
