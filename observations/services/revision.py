"""Correcting what a person said of a frame that is here already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction

from astrid_site.core import audit
from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.storage import put_file
from observations.models import Observation
from observations.services.overrides import COMPANIONS
from observations.services.reading import Frame, RefusedError, describe

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

FITS_MEDIA_TYPE = "application/fits"


def digest(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def changed_fields(
    known: Observation, values: Mapping[str, Any], companions: Mapping[str, Path]
) -> tuple[str, ...]:
    """Which fields are said otherwise than before; whoever says nothing at all changes nothing."""
    if not values and not companions:
        return ()
    names = sorted({*known.overrides, *values})
    changed = [name for name in names if known.overrides.get(name) != values.get(name)]
    for what in COMPANIONS:
        stored: StoredFile | None = getattr(known, f"{what}_file")
        given = digest(companions[what]) if what in companions else None
        if given != (stored.sha256 if stored else None):
            changed.append(what)
    return tuple(changed)


def keep_companions(frame: Frame) -> dict[str, StoredFile]:
    """Store a frame's companions; by the column they belong to."""
    return {
        f"{what}_file": put_file(
            path,
            kind=FileKind.COMPANION,
            name=frame.companion_names.get(what, path.name),
            media_type=FITS_MEDIA_TYPE,
        )
        for what, path in frame.companions.items()
    }


def revise(
    known: Observation,
    frame: Frame,
    *,
    changed: Sequence[str],
    actor: User | None,
    dry_run: bool = False,
) -> str:
    """Write what is now said of an observation and begin it anew; returns what was corrected.

    Raises
    ------
    RefusedError
        If the person may not change observations, the new id is taken, or results of the old
        values stand in the way.
    """
    if actor is not None and not actor.has_perm("observations.change_observation"):
        reason = f"observation {known.observation_id} is here, and you may not change it"
        raise RefusedError(reason, "not_permitted")
    columns = _columns(known, frame, changed)
    if dry_run:
        return f"would be corrected: {', '.join(changed)}"
    kept = keep_companions(frame)
    gone = {f"{what}_file": None for what in COMPANIONS if f"{what}_file" not in kept}
    with transaction.atomic():
        before = _said(known)
        for name, value in {**columns, **gone, **kept}.items():
            setattr(known, name, value)
        known.save(update_fields=[*columns, *gone, *kept])
        audit.record(actor, "observation.overrides", known, before=before, after=_said(known))
        try:
            import_module(settings.CONTROL).restart(known)
        except ApplicationError as error:
            raise RefusedError(str(error), "has_results") from error
    known.refresh_from_db()
    return f"corrected and begun anew: {', '.join(changed)}"


def _columns(known: Observation, frame: Frame, changed: Sequence[str]) -> dict[str, Any]:
    """Columns as a new frame would have them; what was edited by hand since stays."""
    columns = describe(frame) | {"overrides": frame.overrides, "defects": frame.defects}
    for name in {"role", "target"} - set(changed):
        del columns[name]
    name = frame.overrides.get("observation_id", known.observation_id)
    others = Observation.objects.filter(survey=known.survey, observation_id=name)
    if others.exclude(pk=known.pk).exists():
        reason = f"observation id {name!r} of survey {known.survey.name} belongs to other bytes"
        raise RefusedError(reason, "conflict")
    return columns | {"observation_id": name}


def _said(observation: Observation) -> dict[str, Any]:
    stored = {what: getattr(observation, f"{what}_file") for what in COMPANIONS}
    planes = {what: file.sha256 for what, file in stored.items() if file is not None}
    return {**observation.overrides, **planes}
