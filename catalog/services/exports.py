"""Tables built into a file of nobody's, so that their length and digest are known beforehand."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

from catalog import selectors
from catalog.algorithms.object_search import ObjectSearch
from catalog.algorithms.table_columns import (
    LIGHT_CURVE_COLUMNS,
    OBJECT_COLUMNS,
    PLACE_COLUMNS,
    Column,
)
from catalog.algorithms.table_files import Rows, TableFormat, write_table
from catalog.models import AstroObject, ForcedRequest
from catalog.selectors.forced_requests import forced_rows


@dataclass(frozen=True)
class ExportedTable:
    """An open file at its beginning; whoever reads it closes it, and then it is gone."""

    file: IO[bytes]
    size: int
    sha256: bytes
    n_rows: int


def export_objects(search: ObjectSearch, file_format: TableFormat) -> ExportedTable:
    """Every object of a search."""
    return _build(
        file_format, OBJECT_COLUMNS, selectors.object_rows(search), title="Objects of AstrID"
    )


def export_light_curve(astro_object: AstroObject, file_format: TableFormat) -> ExportedTable:
    """Forced photometry of one object, both kinds of flux."""
    rows = selectors.light_curve_rows(astro_object)
    return _build(
        file_format, LIGHT_CURVE_COLUMNS, rows, title=f"Light curve of {astro_object.name}"
    )


def export_forced(row: ForcedRequest, file_format: TableFormat) -> ExportedTable:
    """Fluxes at the places of a request, one place after another."""
    names = [column.read_from for column in LIGHT_CURVE_COLUMNS]
    return _build(
        file_format,
        (*PLACE_COLUMNS, *LIGHT_CURVE_COLUMNS),
        forced_rows(row, names),
        title=f"Forced photometry of {row}",
    )


def _build(
    file_format: TableFormat, columns: Sequence[Column], pieces: Iterable[Rows], *, title: str
) -> ExportedTable:
    # nobody's file: it goes with the last who has it open, however that ends
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        n_rows = write_table(file, file_format, columns=columns, pieces=pieces, title=title)
        size = file.tell()
        sha256 = _digest(file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return ExportedTable(file, size, sha256, n_rows)


def _digest(file: IO[bytes]) -> bytes:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.digest()
