"""Paging of long tables by the last row seen: a page costs the same however deep it is."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db.models import F, Model, Q, QuerySet
from django.utils.dateparse import parse_datetime

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class KeysetPage(Generic[Row]):
    """Some rows and the cursor of the page after them; empty at the end."""

    rows: list[Row]
    after: str
    is_first: bool


def keyset_page(
    rows: QuerySet[Row], *, field: str, cursor: str = "", size: int = 50
) -> KeysetPage[Row]:
    """Rows after ``cursor``, latest ``field`` (a date or null, nulls last) first, then by id."""
    place = decode_cursor(cursor)
    ordered = rows.order_by(F(field).desc(nulls_last=True), "id")
    if place is not None:
        ordered = ordered.filter(_after(field, *place))
    found = list(ordered[: size + 1])
    has_more = len(found) > size
    found = found[:size]
    after = encode_cursor(getattr(found[-1], field), found[-1].pk) if has_more else ""
    return KeysetPage(rows=found, after=after, is_first=place is None)


def _after(field: str, value: datetime | None, key: str) -> Q:
    if value is None:
        return Q(**{f"{field}__isnull": True}, id__gt=key)
    return (
        Q(**{f"{field}__lt": value})
        | Q(**{field: value}, id__gt=key)
        | Q(**{f"{field}__isnull": True})
    )


def encode_cursor(value: datetime | None, key: Any) -> str:
    """Cursor of the place after a row, from its date and its key."""
    words = [value.isoformat() if value else None, str(key)]
    return base64.urlsafe_b64encode(json.dumps(words).encode()).decode()


def decode_cursor(cursor: str) -> tuple[datetime | None, str] | None:
    """Place a cursor names; one that is none of ours counts as the first page."""
    if not cursor:
        return None
    try:
        word, key = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        value = parse_datetime(word) if word is not None else None
    except (binascii.Error, ValueError, TypeError):
        return None
    if (word is not None and value is None) or not _is_uuid(key):
        return None
    return value, key


def _is_uuid(word: object) -> bool:
    from uuid import UUID

    try:
        UUID(str(word))
    except ValueError:
        return False
    return True
