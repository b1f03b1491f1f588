"""A file of positions to measure: a table with sky or pixel coordinates and, if given, names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError

if TYPE_CHECKING:
    from astropy.table import Table

#: More places than a frame has stars are another question.
MAX_POSITIONS = 10_000
_COLUMNS = {"sky": ("ra", "dec"), "pixel": ("x", "y")}


@dataclass(frozen=True)
class PositionList:
    """Places and their names.

    Attributes
    ----------
    names : tuple of str
        One for each place, none twice.
    places : NDArray[float64], shape (n, 2)
        ICRS degrees, or pixels that count from 0.
    is_sky : bool
        Which of the two.
    """

    names: tuple[str, ...]
    places: NDArray[np.float64]
    is_sky: bool


def read_positions(path: Path) -> PositionList:
    """Read a table of positions, ECSV or CSV.

    Parameters
    ----------
    path : Path
        A table with the columns ``ra`` and ``dec`` (degrees, or the unit an ECSV file states) or
        ``x`` and ``y``, and optionally ``name``.

    Returns
    -------
    PositionList
        In the order of the file; places without a name column are called 1, 2, 3...

    Raises
    ------
    AlgorithmError
        If the file is no such table, or a place or a name in it cannot be used.
    """
    table = _read_table(path)
    if not 0 < len(table) <= MAX_POSITIONS:
        msg = f"{path}: 1 to {MAX_POSITIONS} positions can be measured, it has {len(table)}"
        raise AlgorithmError(msg, n_positions=len(table))
    kinds = [kind for kind, names in _COLUMNS.items() if set(names) <= set(table.colnames)]
    if len(kinds) != 1:
        msg = f"{path}: columns ra and dec, or x and y, are needed; it has {table.colnames}"
        raise AlgorithmError(msg)
    places = np.column_stack([_numbers(table, name, path) for name in _COLUMNS[kinds[0]]])
    is_sky = kinds[0] == "sky"
    if is_sky and (np.abs(places[:, 1]) > 90.0).any():
        row = int(np.flatnonzero(np.abs(places[:, 1]) > 90.0)[0])
        msg = f"{path}: row {row + 1}: a declination of {places[row, 1]:g} degrees"
        raise AlgorithmError(msg, row=row + 1)
    return PositionList(_names(table, path), places, is_sky)


def _read_table(path: Path) -> Table:
    from astropy.table import Table

    with path.open(encoding="utf-8", errors="replace") as stream:
        is_ecsv = stream.readline().startswith("# %ECSV")
    try:
        return Table.read(path, format="ascii.ecsv" if is_ecsv else "ascii.csv")
    # what astropy raises for a broken table has no common parent below ValueError
    except (ValueError, IndexError, TypeError) as error:
        first = str(error).strip().split("\n")[0]
        msg = f"{path}: no table of positions: {first}"
        raise AlgorithmError(msg) from error


def _numbers(table: Table, name: str, path: Path) -> NDArray[np.float64]:
    """One coordinate as finite numbers, angles in degrees."""
    column = table[name]
    try:
        if name in _COLUMNS["sky"] and column.unit is not None:
            column = column.to("deg")
        values = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
    except (ValueError, TypeError) as error:
        msg = f"{path}: column {name} does not hold coordinates: {error}"
        raise AlgorithmError(msg) from error
    unknown = np.flatnonzero(~np.isfinite(values))
    if len(unknown):
        msg = f"{path}: row {unknown[0] + 1} has no {name}"
        raise AlgorithmError(msg, row=int(unknown[0]) + 1)
    return np.asarray(values, dtype=np.float64)


def _names(table: Table, path: Path) -> tuple[str, ...]:
    if "name" not in table.colnames:
        return tuple(str(i + 1) for i in range(len(table)))
    names = tuple(str(value).strip() for value in np.ma.filled(table["name"].astype(str), ""))
    seen: set[str] = set()
    for row, name in enumerate(names, start=1):
        if not name or name in seen:
            msg = f"{path}: row {row}: " + (f"a second {name!r}" if name else "no name")
            raise AlgorithmError(msg, row=row)
        seen.add(name)
    return names
