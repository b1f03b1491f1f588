"""Tables written piece by piece: CSV, ECSV, VOTable, FITS and Parquet, in bounded memory."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, Protocol
from xml.sax.saxutils import escape, quoteattr

from catalog.algorithms.table_columns import Column

Rows = Sequence[Sequence[Any]]
Converters = dict[str, Callable[[Any], Any]]
#: A spreadsheet takes text that begins so for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
#: What XML 1.0 cannot hold.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class TableWriter(Protocol):
    """Takes a table piece by piece."""

    def write(self, rows: Rows) -> None:
        """Add rows."""

    def finish(self) -> None:
        """Write what comes after the last row."""


@dataclass(frozen=True)
class TableFormat:
    """One way to write a table."""

    label: str
    suffix: str
    media_type: str
    open: Callable[[IO[bytes], Sequence[Column], str], TableWriter]


def write_table(
    file: IO[bytes],
    file_format: TableFormat,
    *,
    columns: Sequence[Column],
    pieces: Iterable[Rows],
    title: str,
) -> int:
    """Write a table and tell how many rows it has.

    Parameters
    ----------
    file : IO[bytes]
        Open for writing; FITS seeks in it.
    file_format : TableFormat
        One of ``FORMATS``.
    columns : sequence of Column
        In their order.
    pieces : iterable of rows
        Rows are sequences of a value for each column; None where there is none.
    title : str
        What the table is of.
    """
    writer, n_rows = file_format.open(file, columns, title), 0
    for rows in pieces:
        if rows:
            writer.write(rows)
            n_rows += len(rows)
    writer.finish()
    return n_rows


def time_text(value: datetime) -> str:
    """A time as formats without time zones write it: ISO 8601, UTC."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


def _columnwise(rows: Rows, converters: Sequence[Callable[[Any], Any]]) -> list[list[Any]]:
    """Converted values, column by column, which is faster than cell by cell."""
    return [
        [None if value is None else convert(value) for value in values]
        for values, convert in zip(zip(*rows, strict=True), converters, strict=True)
    ]


def safe_text(value: Any) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _as_is(value: Any) -> Any:
    return value


class CsvWriter:
    """Comma-separated values with a line of names; safe to open in a spreadsheet."""

    CONVERT: Converters = {
        "word": safe_text,
        "text": safe_text,
        "time": time_text,
        "bool": lambda v: int(v),
    }

    def __init__(self, file: IO[bytes], columns: Sequence[Column], title: str) -> None:
        self.text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
        self.csv = csv.writer(self.text, lineterminator="\n")
        self.csv.writerow([column.name for column in columns])
        self.converters = [self.CONVERT.get(column.kind, _as_is) for column in columns]

    def write(self, rows: Rows) -> None:
        """Add rows."""
        self.csv.writerows(zip(*_columnwise(rows, self.converters), strict=True))

    def finish(self) -> None:
        """Hand over what is in the buffer."""
        self.text.flush()
        self.text.detach()


def _one_line(value: Any) -> str:
    """Text without what ends a line: ECSV is read line by line."""
    return " ".join(str(value).splitlines())


class EcsvWriter:
    """Enhanced CSV: what astropy reads with units and descriptions.

    References
    ----------
    .. [1] Astropy Proposal for Enhancement 6.
    """

    TYPES = {"double": "float64", "int": "int64", "bool": "bool"}
    CONVERT: Converters = {"word": str, "text": _one_line, "time": time_text, "bool": str}

    def __init__(self, file: IO[bytes], columns: Sequence[Column], title: str) -> None:
        self.text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
        # commas: a null at the end of a line is nothing, which no reader strips
        lines = [
            "%ECSV 1.0",
            "---",
            "delimiter: ','",
            "datatype:",
            *(self._told(column) for column in columns),
        ]
        lines += [f"meta: {{title: {json.dumps(title)}}}", "schema: astropy-2.0"]
        self.text.writelines(f"# {line}\n" for line in lines)
        self.csv = csv.writer(self.text, lineterminator="\n")
        self.csv.writerow([column.name for column in columns])
        self.converters = [self.CONVERT.get(column.kind, _as_is) for column in columns]

    def _told(self, column: Column) -> str:
        # a JSON string is a YAML string
        unit = f"unit: {json.dumps(column.unit)}, " if column.unit else ""
        ucd = f", meta: {{ucd: {json.dumps(column.ucd)}}}" if column.ucd else ""
        kind = self.TYPES.get(column.kind, "string")
        told = f"description: {json.dumps(column.description)}{ucd}"
        return f"- {{name: {column.name}, {unit}datatype: {kind}, {told}}}"

    def write(self, rows: Rows) -> None:
        """Add rows."""
        self.csv.writerows(zip(*_columnwise(rows, self.converters), strict=True))

    def finish(self) -> None:
        """Hand over what is in the buffer."""
        self.text.flush()
        self.text.detach()


def xml_text(value: Any) -> str:
    """Text of an element, without what XML cannot hold."""
    return escape(_NOT_XML.sub("\ufffd", str(value)))


def xml_attribute(value: Any) -> str:
    """A quoted attribute, without what XML cannot hold."""
    return quoteattr(_NOT_XML.sub("\ufffd", str(value)))


class VotableWriter:
    """VOTable 1.4 as the protocols of the Virtual Observatory answer with.

    References
    ----------
    .. [1] IVOA VOTable 1.4.
    """

    TYPES = {
        "word": 'datatype="char" arraysize="*"',
        "text": 'datatype="unicodeChar" arraysize="*"',
        "time": 'datatype="char" arraysize="*" xtype="timestamp"',
        "double": 'datatype="double"',
        "int": 'datatype="int"',
        "bool": 'datatype="boolean"',
    }
    CONVERT: Converters = {
        "word": xml_text,
        "text": xml_text,
        "time": time_text,
        "double": repr,
        "int": str,
        "bool": lambda v: "T" if v else "F",
    }

    def __init__(self, file: IO[bytes], columns: Sequence[Column], title: str) -> None:
        self.file = file
        fields = "".join(f"   {self._field(column)}\n" for column in columns)
        head = (
            f'{VOTABLE_HEAD} <RESOURCE type="results">\n'
            f'  <INFO name="QUERY_STATUS" value="OK"/>\n'
            '  <COOSYS ID="icrs" system="ICRS"/>\n'
            f'  <TABLE name="results">\n   <DESCRIPTION>{xml_text(title)}</DESCRIPTION>\n'
            f"{fields}   <DATA><TABLEDATA>\n"
        )
        file.write(head.encode())
        self.converters = [self.CONVERT[column.kind] for column in columns]

    def _field(self, column: Column) -> str:
        frame = ' ref="icrs"' if column.ucd.startswith(("pos.eq", "POS_EQ")) else ""
        unit = f" unit={xml_attribute(column.unit)}" if column.unit else ""
        ucd = f" ucd={xml_attribute(column.ucd)}" if column.ucd else ""
        name = xml_attribute(column.name)
        head = f"<FIELD name={name} {self.TYPES[column.kind]}{unit}{ucd}{frame}>"
        return f"{head}<DESCRIPTION>{xml_text(column.description)}</DESCRIPTION></FIELD>"

    def write(self, rows: Rows) -> None:
        """Add rows."""
        cells = _columnwise(rows, self.converters)
        lines = (
            f"<TR>{''.join(f'<TD>{cell}</TD>' if cell is not None else '<TD/>' for cell in row)}"
            "</TR>\n"
            for row in zip(*cells, strict=True)
        )
        self.file.write("".join(lines).encode())

    def finish(self, *, is_cut: bool = False) -> None:
        """Close every element: what was cut off is no XML; ``is_cut`` says that there is more."""
        more = b'  <INFO name="QUERY_STATUS" value="OVERFLOW"/>\n' if is_cut else b""
        tail = b"   </TABLEDATA></DATA>\n  </TABLE>\n" + more + b" </RESOURCE>\n</VOTABLE>\n"
        self.file.write(tail)


VOTABLE_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
)


class FitsWriter:
    """A FITS binary table; the number of rows is written into its header at the end."""

    def __init__(self, file: IO[bytes], columns: Sequence[Column], title: str) -> None:
        import numpy as np

        kinds = {"double": ">f8", "int": ">i4", "bool": "S1"}
        self.columns = columns
        self.dtype = np.dtype(
            [(c.name, kinds.get(c.kind) or f"S{max(c.width, 1)}") for c in columns]
        )
        self.file, self.title, self.n_rows = file, title, 0
        self.begin = file.tell()
        file.write(self._header())

    def _header(self) -> bytes:
        from astropy.io import fits

        primary = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
        table = fits.Header(
            [
                ("XTENSION", "BINTABLE", "binary table"),
                ("BITPIX", 8),
                ("NAXIS", 2),
                ("NAXIS1", self.dtype.itemsize, "bytes in a row"),
                ("NAXIS2", self.n_rows, "rows"),
                ("PCOUNT", 0),
                ("GCOUNT", 1),
                ("TFIELDS", len(self.columns)),
                ("EXTNAME", self.title[:60]),
                ("TIMESYS", "UTC"),
                ("RADESYS", "ICRS"),
            ]
        )
        letters = {"double": "D", "int": "J", "bool": "L"}
        for number, column in enumerate(self.columns, start=1):
            letter = letters.get(column.kind) or f"{max(column.width, 1)}A"
            table[f"TTYPE{number}"] = (column.name, column.description[:40])
            table[f"TFORM{number}"] = letter
            if column.unit:
                table[f"TUNIT{number}"] = column.unit
            if column.ucd:
                table[f"TUCD{number}"] = column.ucd
        return str(primary.tostring() + table.tostring()).encode("ascii")

    def write(self, rows: Rows) -> None:
        """Add rows."""
        import numpy as np

        table = np.zeros(len(rows), dtype=self.dtype)
        for column, values in zip(self.columns, zip(*rows, strict=True), strict=True):
            table[column.name] = self._cells(column, values)
        self.file.write(table.tobytes())
        self.n_rows += len(rows)

    @staticmethod
    def _cells(column: Column, values: Sequence[Any]) -> list[Any]:
        match column.kind:
            case "double":
                return [float("nan") if v is None else v for v in values]
            case "int":
                return [0 if v is None else v for v in values]
            case "bool":
                return [b"\0" if v is None else b"T" if v else b"F" for v in values]
            case "time":
                return [b"" if v is None else time_text(v).encode() for v in values]
        # FITS holds ASCII alone; what is cut here is escaped letters, never a name of ours
        return [b"" if v is None else str(v).encode("ascii", "backslashreplace") for v in values]

    def finish(self) -> None:
        """Fill the last block and write the header again, which is as long as before."""
        self.file.write(b"\0" * (-(self.n_rows * self.dtype.itemsize) % 2880))
        end = self.file.tell()
        self.file.seek(self.begin)
        self.file.write(self._header())
        self.file.seek(end)


class ParquetWriter:
    """Parquet with units, descriptions and UCDs beside each column."""

    #: Rows of a group; larger groups compress better and take more memory.
    GROUP_ROWS = 50_000

    def __init__(self, file: IO[bytes], columns: Sequence[Column], title: str) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        types = {
            "double": pa.float64(),
            "int": pa.int64(),
            "bool": pa.bool_(),
            "time": pa.timestamp("us", tz="UTC"),
        }
        self.schema = pa.schema(
            [
                pa.field(
                    c.name,
                    types.get(c.kind, pa.string()),
                    metadata={"unit": c.unit, "ucd": c.ucd, "description": c.description},
                )
                for c in columns
            ],
            metadata={"title": title},
        )
        self.converters = [str if c.kind in {"word", "text"} else _as_is for c in columns]
        self.writer = parquet.ParquetWriter(file, self.schema, compression="zstd")
        self.waiting: list[Any] = []
        self.n_waiting = 0

    def write(self, rows: Rows) -> None:
        """Add rows."""
        import pyarrow as pa

        cells = _columnwise(rows, self.converters)
        arrays = [
            pa.array(values, type=field.type)
            for values, field in zip(cells, self.schema, strict=True)
        ]
        self.waiting.append(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
        self.n_waiting += len(rows)
        if self.n_waiting >= self.GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa

        table = pa.Table.from_batches(self.waiting, schema=self.schema)
        self.writer.write_table(table, row_group_size=self.GROUP_ROWS)
        self.waiting, self.n_waiting = [], 0

    def finish(self) -> None:
        """Write the last group and the footer: without it nothing of the file is read."""
        self._write_group()
        self.writer.close()


FORMATS = {
    "csv": TableFormat("CSV", "csv", "text/csv; charset=utf-8", CsvWriter),
    "ecsv": TableFormat("ECSV", "ecsv", "text/plain; charset=utf-8", EcsvWriter),
    "votable": TableFormat("VOTable", "vot", "application/x-votable+xml", VotableWriter),
    "fits": TableFormat("FITS", "fits", "application/fits", FitsWriter),
    "parquet": TableFormat("Parquet", "parquet", "application/vnd.apache.parquet", ParquetWriter),
}
