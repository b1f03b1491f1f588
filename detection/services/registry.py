"""Which model is champion: shipped ones come in, people promote and roll back, all on record."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from django.apps import apps as installed
from django.apps.registry import Apps
from django.db import transaction
from django.utils import timezone

from astrid_site.core import audit, jobs
from astrid_site.core.errors import ApplicationError, ConflictError
from astrid_site.core.jobs import NextJob
from astrid_site.core.models import AuditEntry, FileKind, Job
from astrid_site.core.storage import put_bytes
from detection.models import DetectionRun, ScoringModel
from detection.services.canaries import request_canaries
from detection.services.mirror import request_mirror
from detection.services.scoring import load_scorer
from detection.services.shipped import Shipped, shipped_models

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

Role = ScoringModel.Role
RESCORE = "rescore"


def adopt_shipped(*, apps: Apps = installed, **_kwargs: Any) -> None:
    """Register the weights that this version ships; runs after every migrate and flush.

    They take the parts they are shipped for as long as nobody has promoted a model. After that a
    person's choice stands: new weights come in as shadows, to be looked at.
    """
    try:
        apps.get_model("detection", "ScoringModel")
    except LookupError:
        # migrated back to before there was such a table
        return
    shipped = shipped_models()
    known = set(ScoringModel.objects.values_list("sha256", flat=True))
    new = [each for each in shipped if each.sha256 not in known]
    if new:
        with transaction.atomic():
            _adopt(new, current={each.sha256 for each in shipped})


def _adopt(new: list[Shipped], *, current: set[str]) -> None:
    """Register new weights, and let go of those that older versions shipped."""
    is_chosen = AuditEntry.objects.filter(action="model.promote").exists()
    champion = _champion()
    older = ScoringModel.objects.filter(is_shipped=True).exclude(sha256__in=current)
    for old in older.exclude(role=Role.RETIRED):
        if not (is_chosen and old.role == Role.CHAMPION):
            _move(old, Role.RETIRED)
    for each in new:
        role = Role.SHADOW if is_chosen and each.role == Role.CHAMPION else each.role
        if role == Role.CHAMPION and (last := _champion()) is not None:
            _move(last, Role.SHADOW)
        model = ScoringModel.objects.create(
            family=each.family,
            name=each.name,
            version=each.version,
            sha256=each.sha256,
            role=role,
            is_shipped=True,
            record=each.record,
            report=each.report,
        )
        if role == Role.CHAMPION and champion is not None:
            before = {"model": str(champion)}
            audit.record(None, "model.shipped", model, before=before, after={"role": role})
        if role == Role.CHAMPION and DetectionRun.objects.exists():
            request_rescore(model)


def request_rescore(model: ScoringModel) -> Job:
    """Have a worker show a new champion's scores on all candidates, in the caller's transaction."""
    job = NextJob(kind=RESCORE, subject_id=model.pk, config_version="1")
    return jobs.submit(job, revive=True)


def register_network(
    content: bytes, *, about: dict[str, Any], report: dict[str, Any]
) -> ScoringModel:
    """Take a trained network in as a shadow; the same weights again change nothing.

    Raises
    ------
    ApplicationError
        If the weights are not those that their record names, or cannot be read.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    if about.get("sha256") != sha256:
        msg = f"the weights are {sha256[:12]}, their record is of {str(about.get('sha256'))[:12]}"
        raise ApplicationError(msg)
    if report and report.get("weights_sha256") != sha256:
        msg = "the report is of other weights"
        raise ApplicationError(msg)
    if (known := ScoringModel.objects.filter(sha256=sha256).first()) is not None:
        return known
    version = sha256[:12]
    file = put_bytes(
        content,
        kind=FileKind.WEIGHTS,
        name=f"real-bogus-network-{version}.safetensors",
        media_type="application/octet-stream",
    )
    model = ScoringModel(
        family=ScoringModel.Family.NETWORK,
        name="real-bogus network",
        version=version,
        sha256=sha256,
        file=file,
        record=about,
        report=report,
    )
    try:
        load_scorer(model)
    except (ValueError, KeyError, RuntimeError) as error:
        msg = f"these are no weights of a real-bogus network: {error}"
        raise ApplicationError(msg) from error
    with transaction.atomic():
        model.save()
        audit.record(None, "model.registered", model, after={"model": str(model)})
        request_mirror(model)
        request_canaries(model)
    return model


def promote(model: ScoringModel, actor: User | None, *, gate: list[str]) -> None:
    """Make a model the champion; the one before goes on scoring in its shadow.

    ``gate`` says what was looked at, and is kept on record. Call it in a transaction.

    Raises
    ------
    ConflictError
        If it is the champion already.
    """
    with transaction.atomic():
        model, champion = _locked(model), _champion()
        if champion is not None and champion.pk == model.pk:
            msg = f"{model} is the champion already"
            raise ConflictError(msg)
        if champion is not None:
            _move(champion, Role.SHADOW)
        _move(model, Role.CHAMPION)
        before = {"champion": str(champion.pk), "model": str(champion)} if champion else {}
        audit.record(
            actor, "model.promote", model, before=before, after={"model": str(model), "gate": gate}
        )
        request_mirror(model)
        request_canaries(model)


def roll_back(actor: User | None, *, reason: str) -> ScoringModel:
    """Give the place back to the champion that the present one replaced; returns it.

    Raises
    ------
    ConflictError
        If the present champion replaced nobody.
    """
    with transaction.atomic():
        champion = _champion()
        before = champion and replaced_by(champion)
        if champion is None or before is None:
            msg = "there is no earlier champion to go back to"
            raise ConflictError(msg)
        _move(champion, Role.RETIRED)
        _move(before, Role.CHAMPION)
        audit.record(
            actor,
            "model.rollback",
            before,
            before={"champion": str(champion.pk), "model": str(champion)},
            after={"model": str(before), "reason": reason},
        )
        request_mirror(before)
        request_canaries(before)
    return before


def set_role(model: ScoringModel, role: str, actor: User | None, *, reason: str = "") -> None:
    """Make a model the challenger, a shadow, or retire it; the challenger before steps back.

    Raises
    ------
    ApplicationError
        If it is the champion: that place is only given to another, never left empty.
    """
    if role == Role.CHAMPION:
        msg = "role: a champion is promoted, not named"
        raise ValueError(msg)
    with transaction.atomic():
        model = _locked(model)
        if model.role == Role.CHAMPION:
            msg = f"{model} is the champion; promote another, or roll back"
            raise ApplicationError(msg)
        if role == Role.CHALLENGER:
            for other in ScoringModel.objects.filter(role=role).exclude(pk=model.pk):
                _move(other, Role.SHADOW)
        before = model.role
        _move(model, role)
        after = {"role": role} | ({"reason": reason} if reason else {})
        audit.record(actor, "model.role", model, before={"role": before}, after=after)
        request_mirror(model)
        if role != Role.RETIRED:
            request_canaries(model)


def replaced_by(champion: ScoringModel) -> ScoringModel | None:
    """The champion that this one replaced when it was last promoted; None where there was none."""
    entries = AuditEntry.objects.filter(action="model.promote", subject_id=str(champion.pk))
    last = entries.order_by("-id").first()
    before = last.before.get("champion") if last else None
    return ScoringModel.objects.filter(pk=before).first() if before else None


def _champion() -> ScoringModel | None:
    return ScoringModel.objects.select_for_update().filter(role=Role.CHAMPION).first()


def _locked(model: ScoringModel) -> ScoringModel:
    return ScoringModel.objects.select_for_update().get(pk=model.pk)


def _move(model: ScoringModel, role: str) -> None:
    """Give a row another role; who does so writes the audit trail."""
    model.role, model.role_since = role, timezone.now()
    model.save(update_fields=["role", "role_since"])
