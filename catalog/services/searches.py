"""Searches that people keep."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from catalog.algorithms.object_search import ObjectSearch
from catalog.models import SavedSearch

if TYPE_CHECKING:
    from astrid_site.accounts.models import User


def save_search(
    owner: User, search: ObjectSearch, *, name: str, is_public: bool = False
) -> SavedSearch:
    """Keep a search under a name; the same person's search of that name is replaced."""
    row, _ = SavedSearch.objects.update_or_create(
        owner=owner,
        name=name.strip(),
        defaults={"parameters": search.as_parameters(), "is_public": is_public},
    )
    return row


def forget_search(owner: User, key: UUID) -> bool:
    """Remove a person's own search; False where there is none of theirs with that key."""
    gone, _ = SavedSearch.objects.filter(owner=owner, pk=key).delete()
    return bool(gone)
