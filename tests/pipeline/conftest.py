"""Surveys that are processed once for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction

from astrid_site.core import tasking


class _UndoError(Exception):
    """Leaves the block and takes every row with it."""


@contextmanager
def _rolled_back(blocker: Any) -> Iterator[None]:
    with blocker.unblock():
        try:
            with transaction.atomic():
                yield
                raise _UndoError
        except _UndoError:
            return


@pytest.fixture(scope="module")
def module_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Rows written under it last for the module and are rolled back at its end."""
    with _rolled_back(django_db_blocker):
        yield


@pytest.fixture(autouse=True, scope="module")
def nobody_listens() -> Iterator[None]:
    """No message leaves the test: the tests run the jobs themselves."""
    patch = pytest.MonkeyPatch()
    patch.setattr(tasking, "ring", lambda *args, **kwargs: None)
    yield
    patch.undo()
