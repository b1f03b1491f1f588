"""Taking in lists of known things of the sky."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.db import transaction

from astrid_site.core.models import FileKind
from astrid_site.imaging.errors import AlgorithmError
from catalog.models import ContextList
from preprocessing.services import put_array

if TYPE_CHECKING:
    from astropy.table import Table

    from catalog.algorithms.context_table import SortedList

#: More rows are not held in memory while they are sorted.
MAX_ROWS = 20_000_000
FORMATS = {
    ".csv": "ascii.csv",
    ".ecsv": "ascii.ecsv",
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".xml": "votable",
    ".votable": "votable",
}


@dataclass(frozen=True)
class ListFacts:
    """What is said of a list besides its rows.

    Attributes
    ----------
    kind : str
        A ``ContextList.Kind``.
    name : str
        What pages call it.
    epoch : float
        Of its positions [Julian year].
    match_arcsec : float
        What is nearer than this is the same thing.
    is_whole_sky : bool
        Whether it covers places without rows.
    """

    kind: str
    name: str
    epoch: float
    match_arcsec: float
    is_whole_sky: bool = False


def read_context_list(
    path: Path, *, epoch: float, columns: Mapping[str, str] | None = None
) -> SortedList:
    """Rows of a CSV, ECSV, FITS or VOTable file, sorted by place.

    ``columns`` names columns that are not called as is usual: ``{"magnitude": "rPSF"}``.

    Raises
    ------
    AlgorithmError
        If the file is no such table, or has no places.
    """
    from catalog.algorithms.context_table import find_names, sort_list

    table = _read_table(path)
    if len(table) > MAX_ROWS:
        msg = f"{path.name} has {len(table)} rows, more than {MAX_ROWS}"
        raise AlgorithmError(msg, n_rows=len(table))
    told = dict(columns or {})
    absent = [name for name in told.values() if name not in table.colnames]
    if absent:
        msg = f"{path.name} has no column {absent[0]}"
        raise AlgorithmError(msg)
    found = find_names([*table.colnames, *told]) | told
    numbers, words = {}, {}
    for what, column in found.items():
        if what in {"key", "type"}:
            words[what] = [_word(value) for value in table[column]]
        else:
            numbers[what] = _numbers(table[column], called=f"{path.name}: {column}")
    return sort_list(numbers, words, epoch=epoch)


def _read_table(path: Path) -> Table:
    from astropy.table import Table

    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        msg = f"{path.name}: a list is a file of one of {', '.join(FORMATS)}"
        raise AlgorithmError(msg)
    try:
        return Table.read(path, format=kind)
    except (OSError, ValueError, TypeError, IndexError) as error:
        msg = f"{path.name} is no table: {error}"
        raise AlgorithmError(msg) from error


def _numbers(column: Any, *, called: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        values = np.ma.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{called} does not hold numbers: {error}"
        raise AlgorithmError(msg) from error
    return np.asarray(values.filled(np.nan), dtype=np.float64)


def _word(value: Any) -> str:
    return "" if np.ma.is_masked(value) else str(value).strip()


def import_context_list(read: SortedList, facts: ListFacts) -> tuple[ContextList, bool]:
    """Keep a list; True where it was not known yet. An older one of its name and kind retires."""
    file = put_array(read.rows, kind=FileKind.STARS, name=f"{facts.name}.npy"[:255])
    told = {
        "name": facts.name[:100],
        "epoch": facts.epoch,
        "match_arcsec": facts.match_arcsec,
        "n_rows": len(read.rows),
        "fastest_mas_yr": read.fastest_mas_yr,
        "cells": read.cells,
        "is_whole_sky": facts.is_whole_sky,
        "is_active": True,
    }
    with transaction.atomic():
        row, is_new = ContextList.objects.update_or_create(
            kind=facts.kind, file=file, defaults=told
        )
        older = ContextList.objects.filter(kind=facts.kind, name=row.name, is_active=True)
        older.exclude(pk=row.pk).update(is_active=False)
    return row, is_new
