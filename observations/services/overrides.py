"""What a person says of a frame instead of its header: sidecar tables and form fields."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astrid_site.core.errors import ApplicationError
from observations.models import Observation

_TEXTS = {"observation_id": 255, "target": 120, "band": 30}
_POSITIVE = ("exposure_s", "gain", "saturation")
_NUMBERS = (*_POSITIVE, "read_noise", "zero_point")
COMPANIONS = ("mask", "noise", "psf")
COLUMNS = ("file", *_TEXTS, "observed_at", *_NUMBERS, "role", *COMPANIONS)

SIDECAR_NAME = "sidecar.csv"


@dataclass(frozen=True)
class Overrides:
    """One row of a sidecar table."""

    values: dict[str, Any] = field(default_factory=dict)
    companions: dict[str, Path] = field(default_factory=dict)


def parse_overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """Checked values as JSON can hold them; what is empty is left out.

    Raises
    ------
    ApplicationError
        If a name is unknown or a value impossible; says which.
    """
    parsed: dict[str, Any] = {}
    for name, value in given.items():
        text = "" if value is None else str(value).strip()
        if text:
            parsed[name] = _parse(name, value, text)
    return parsed


def _parse(name: str, value: Any, text: str) -> Any:
    if name in _TEXTS:
        if len(text) > _TEXTS[name]:
            msg = f"{name}: at most {_TEXTS[name]} characters, got {len(text)}"
            raise ApplicationError(msg)
        return text
    if name in _NUMBERS:
        return _number(name, text)
    if name == "observed_at":
        moment = value if isinstance(value, datetime) else _moment(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat()
    if name == "role":
        if text.lower() not in Observation.Role.values:
            msg = f"role: must be one of {', '.join(Observation.Role.values)}, got {text!r}"
            raise ApplicationError(msg)
        return text.lower()
    msg = f"{name}: no such field; there are {', '.join(COLUMNS)}"
    raise ApplicationError(msg)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (name in _POSITIVE and number <= 0):
        kind = "positive number" if name in _POSITIVE else "number"
        msg = f"{name}: must be a {kind}, got {text!r}"
        raise ApplicationError(msg)
    return number


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        msg = f"observed_at: must be an ISO date and time (UTC), got {text!r}"
        raise ApplicationError(msg) from None


def read_sidecar(
    path: Path, *, name: str = "", beside: Collection[str] | None = None
) -> dict[str, Overrides]:
    """Rows of a sidecar table (CSV or ECSV) by the name in their ``file`` column.

    Paths of companions are relative to the table. A table that was uploaded (under ``name``) lies
    in no folder: its companions are names among those that came with it, ``beside``, and no file
    of this machine is looked at.

    Raises
    ------
    ApplicationError
        If the table has no ``file`` column, an unknown column, a bad value, a file twice, or
        cannot be read as text; says the row.
    """
    try:
        rows = list(_rows(path, name or path.name))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        msg = f"{name or path.name}: not a readable table: {error}"
        raise ApplicationError(msg) from error
    found: dict[str, Overrides] = {}
    for number, row in enumerate(rows, start=1):
        place = f"{name or path.name} row {number}"
        try:
            file, overrides = _read_row(row, folder=path.parent, beside=beside)
        except ApplicationError as error:
            msg = f"{place}: {error}"
            raise ApplicationError(msg) from error
        if file in found:
            msg = f"{place}: {file} stands there twice"
            raise ApplicationError(msg)
        found[file] = overrides
    return found


def _rows(path: Path, called: str) -> Iterator[dict[str, str]]:
    text = path.read_text(encoding="utf-8-sig")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    # ECSV is a commented header and then a table, separated by blanks unless it says otherwise
    is_ecsv = text.startswith("# %ECSV")
    delimiter = " " if is_ecsv and "delimiter: ','" not in text else ","
    reader = csv.DictReader(lines, delimiter=delimiter)
    names = [name.strip() for name in reader.fieldnames or []]
    unknown = sorted(set(names) - set(COLUMNS))
    if "file" not in names or unknown:
        what = f"unknown columns {', '.join(unknown)}" if unknown else "no column 'file'"
        msg = f"{called}: {what}; there are {', '.join(COLUMNS)}"
        raise ApplicationError(msg)
    for row in reader:
        if None in row:
            msg = f"{called} line {reader.line_num}: more values than columns"
            raise ApplicationError(msg)
        yield {name.strip(): (value or "").strip() for name, value in row.items()}


def _read_row(
    row: Mapping[str, str], *, folder: Path, beside: Collection[str] | None
) -> tuple[str, Overrides]:
    name = row["file"]
    if not name:
        msg = "file: empty"
        raise ApplicationError(msg)
    given = {what: row[what] for what in COMPANIONS if row.get(what)}
    for what, file in given.items():
        is_there = (folder / file).is_file() if beside is None else file in beside
        if not is_there:
            msg = f"{what}: no file {Path(file).name}"
            raise ApplicationError(msg)
    companions = {
        what: folder / file if beside is None else Path(file) for what, file in given.items()
    }
    values = {key: value for key, value in row.items() if key not in {"file", *COMPANIONS}}
    return name, Overrides(parse_overrides(values), companions)
