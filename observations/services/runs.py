"""The row of a stage's run and the observation that mirrors it: begun, waiting, ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import numpy as np
from django.db import transaction
from django.utils import timezone

from astrid_site.core.errors import LeaseLostError
from astrid_site.core.events import publish
from astrid_site.core.jobs import JobContext
from astrid_site.core.models import Job
from astrid_site.core.provenance import code_version
from astrid_site.core.stages import StageProduct
from astrid_site.core.status import RunStatus
from observations.models import Observation, ProcessingRun


def clean_json(value: Any) -> Any:
    """The value as JSON can hold it: NaN and infinity become null, numpy becomes Python."""
    if isinstance(value, Mapping):
        return {str(key): clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean_json(item) for item in value]
    if isinstance(value, np.generic):
        return clean_json(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return str(value)


def mirror(observation_id: UUID, *, status: RunStatus, stage: str, reason: str = "") -> None:
    """Write where an observation stands, and tell live pages."""
    Observation.objects.filter(pk=observation_id).update(status=status, stage=stage, reason=reason)
    publish(
        "observation.changed",
        subject_id=observation_id,
        payload={"status": str(status), "stage": stage, "reason": reason},
    )


def _keep_claim(context: JobContext) -> None:
    """Lock the job's row while it is ours, so that a cancelled job cannot mark anything."""
    if not Job.objects.select_for_update().filter(**context.claim.row()).exists():
        msg = f"{context.kind} {context.job_id}: the job was cancelled or belongs to another worker"
        raise LeaseLostError(msg)


def begin_run(model: type[ProcessingRun], context: JobContext, *, version: str) -> ProcessingRun:
    """The run row of a stage, marked RUNNING; made on the first attempt."""
    with transaction.atomic():
        _keep_claim(context)
        run, _ = model._default_manager.get_or_create(
            observation_id=context.subject_id, pipeline_version=version
        )
        run.status = RunStatus.RUNNING
        run.reason, run.numbers, run.finished_at = "", {}, None
        run.started_at = timezone.now()
        run.code_version = code_version()
        run.save(
            update_fields=[
                "status", "reason", "numbers", "finished_at", "started_at", "code_version"
            ]
        )  # fmt: skip
        mirror(context.subject_id, status=RunStatus.RUNNING, stage=context.kind)
    return model._default_manager.select_related("observation", "observation__survey").get(
        pk=run.pk
    )


def wait_run(run: ProcessingRun, context: JobContext, *, reason: str) -> None:
    """Put a run back to PENDING because its job goes back to the queue."""
    with transaction.atomic():
        _keep_claim(context)
        run.status, run.reason = RunStatus.PENDING, reason
        run.save(update_fields=["status", "reason"])
        mirror(run.observation_id, status=RunStatus.PENDING, stage=context.kind, reason=reason)


def end_run(
    run: ProcessingRun,
    status: RunStatus,
    *,
    stage: str,
    reason: str,
    numbers: Mapping[str, Any] | None = None,
) -> None:
    """End a run without a product; called inside the transaction that ends its job."""
    run.status, run.reason = status, reason
    run.numbers = clean_json(numbers or {})
    run.finished_at = timezone.now()
    run.save(update_fields=["status", "reason", "numbers", "finished_at"])
    mirror(run.observation_id, status=status, stage=stage, reason=reason)


def succeed_run(run: ProcessingRun, product: StageProduct) -> None:
    """Save a stage's product and mark its run SUCCEEDED, inside the finishing transaction."""
    product.save()
    run.status, run.reason, run.numbers = RunStatus.SUCCEEDED, "", {}
    # read after save: some stages count what they wrote
    run.metrics = clean_json(product.metrics)
    run.parameters = clean_json(product.parameters)
    run.inputs = clean_json(product.inputs)
    run.log = "\n".join(product.log)
    run.finished_at = timezone.now()
    run.save(
        update_fields=[
            "status", "reason", "numbers", "metrics", "parameters", "inputs", "log", "finished_at"
        ]
    )  # fmt: skip


def reset_run(run: ProcessingRun) -> None:
    """Make an ended run PENDING again, for a retry."""
    run.status, run.reason, run.numbers = RunStatus.PENDING, "", {}
    run.finished_at = None
    run.save(update_fields=["status", "reason", "numbers", "finished_at"])
