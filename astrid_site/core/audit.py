"""Who did what to which row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Model

from astrid_site.core.models import AuditEntry


def record(
    actor: AbstractBaseUser | AnonymousUser | None,
    action: str,
    subject: Model,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    address: str | None = None,
) -> None:
    """Write one line of the audit trail into the caller's transaction."""
    AuditEntry.objects.create(
        # The account model is named in the settings; this module may not import it.
        actor=cast(Any, actor if actor is not None and actor.is_authenticated else None),
        action=action,
        subject_type=subject._meta.label_lower,
        subject_id=str(subject.pk),
        before=dict(before or {}),
        after=dict(after or {}),
        address=address,
    )
