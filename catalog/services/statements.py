"""Writing down what people say of an object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from astrid_site.core.errors import ConflictError
from astrid_site.core.events import publish
from catalog.models import AstroObject, ObjectStatement

if TYPE_CHECKING:
    from astrid_site.accounts.models import User


def state(
    astro_object: AstroObject,
    said_by: User,
    *,
    kind: str,
    text: str = "",
    number: float | None = None,
    error: float | None = None,
    source: str = "",
) -> ObjectStatement:
    """Write a statement; the form or serializer before it has seen that it says something."""
    with transaction.atomic():
        row = ObjectStatement.objects.create(
            astro_object=astro_object,
            said_by=said_by,
            kind=kind,
            text=text.strip(),
            number=number,
            error=error,
            source=source.strip(),
        )
        _tell(row)
    return row


def withdraw(statement: ObjectStatement, said_by: User) -> ObjectStatement:
    """Take a statement back; it stays on record, with who took it back and when.

    Raises
    ------
    ConflictError
        If it was taken back before, or takes one back itself.
    """
    if statement.withdraws_id is not None:
        msg = "What takes a statement back cannot be taken back: state it anew."
        raise ConflictError(msg)
    try:
        with transaction.atomic():
            row = ObjectStatement.objects.create(
                astro_object_id=statement.astro_object_id,
                said_by=said_by,
                kind=statement.kind,
                withdraws=statement,
            )
            _tell(row)
    except IntegrityError as error:
        msg = "It was taken back before."
        raise ConflictError(msg) from error
    return row


def _tell(row: ObjectStatement) -> None:
    publish(
        "object.changed",
        subject_id=row.astro_object_id,
        payload={"statement": row.kind, "withdrawn": row.withdraws_id is not None},
    )
