"""Which model is champion: shipped ones come in, people promote and roll back, all on record."""

from __future__ import annotations

from typing import Any

from django.apps import apps as installed
from django.apps.registry import Apps
from django.db import transaction
from django.utils import timezone

from astrid_site.core import audit
from detection.models import ScoringModel
from detection.services.shipped import Shipped, shipped_models

Role = ScoringModel.Role


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
    for shipped in shipped_models():
        if not ScoringModel.objects.filter(sha256=shipped.sha256).exists():
            _adopt(shipped)


def _adopt(shipped: Shipped) -> None:
    with transaction.atomic():
        champion = ScoringModel.objects.filter(role=Role.CHAMPION).first()
        role = shipped.role
        if role == Role.CHAMPION and champion is not None and not champion.is_shipped:
            role = Role.SHADOW
        ours = ScoringModel.objects.filter(family=shipped.family, is_shipped=True)
        for old in ours.exclude(role=Role.RETIRED).filter(role=role):
            _move(old, Role.RETIRED)
        model = ScoringModel.objects.create(
            family=shipped.family,
            name=shipped.name,
            version=shipped.version,
            sha256=shipped.sha256,
            role=role,
            is_shipped=True,
            record=shipped.record,
            report=shipped.report,
        )
        audit.record(None, "model.shipped", model, after={"role": role, "model": str(model)})


def _move(model: ScoringModel, role: str) -> None:
    """Give a row another role; who does so writes the audit trail."""
    model.role, model.role_since = role, timezone.now()
    model.save(update_fields=["role", "role_since"])
