"""Exported tables, read back by the programs they are for."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import ParseError

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table, validate
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from pyarrow import ArrowInvalid, parquet
from rest_framework.test import APIClient

from catalog.algorithms.table_columns import LIGHT_CURVE_COLUMNS, OBJECT_COLUMNS, Column
from catalog.algorithms.table_files import FORMATS, write_table
from tests.api.fixtures import api_as, browser_as, people
from tests.catalog.factories import make_difference_run, make_object, make_point

__all__ = ["api_as", "browser_as", "people"]
WHEN = datetime(2026, 9, 1, 3, 4, 5, 678000, tzinfo=UTC)
NASTY = ["=1+1", "-2", "@x", "+3", "\t4", 'a "b", c', "<&>", "é\x02", "", "plain"]
COLUMNS = (
    Column("name", "word", "A name", ucd="meta.id;meta.main", width=20),
    Column("words", "text", "Any words", width=40),
    Column("ra", "double", "Right ascension", unit="deg", ucd="pos.eq.ra;meta.main"),
    Column("n", "int", "How many"),
    Column("is_odd", "bool", "Whether it is odd"),
    Column("seen", "time", "When", width=26),
)
ROWS = [
    (f"row{i}", words, None if i == 3 else i / 7, i, i % 2 == 1, None if i == 2 else WHEN)
    for i, words in enumerate(NASTY)
]


def written(name: str, rows: list[Any] = ROWS, columns: Any = COLUMNS) -> io.BytesIO:
    file = io.BytesIO()
    pieces = [rows[:4], [], rows[4:]]
    n_rows = write_table(file, FORMATS[name], columns=columns, pieces=pieces, title="A test")
    assert n_rows == len(rows)
    file.seek(0)
    return file


def test_csv_opens_in_a_spreadsheet_without_a_formula() -> None:
    lines = list(csv.reader(io.TextIOWrapper(written("csv"), "utf-8", newline="")))
    assert lines[0] == [column.name for column in COLUMNS]
    for line, words in zip(lines[1:], NASTY, strict=True):
        assert line[1] == (f"'{words}" if words[:1] in {"=", "-", "@", "+", "\t"} else words)
        assert not line[1].startswith(("=", "-", "@", "+", "\t"))
    assert [line[2] for line in lines[1:4]] == ["0.0", repr(1 / 7), repr(2 / 7)]
    assert (lines[4][2], lines[3][5]) == ("", "")
    assert lines[1][5] == "2026-09-01T03:04:05.678"


def test_ecsv_is_read_with_units_descriptions_and_types() -> None:
    table = Table.read(written("ecsv"), format="ascii.ecsv")
    assert str(table["ra"].unit) == "deg"
    assert table["words"].description == "Any words"
    assert table["name"].meta["ucd"] == "meta.id;meta.main"
    assert (table["n"].dtype, table["is_odd"].dtype) == (np.int64, bool)
    assert table["ra"][1] == 1 / 7
    assert table["ra"].mask[3]
    assert list(table["words"][:3]) == NASTY[:3]


def test_votable_is_valid_and_holds_what_was_written(tmp_path: Any) -> None:
    file = written("votable")
    path = tmp_path / "table.vot"
    path.write_bytes(file.getvalue())
    said = io.StringIO()
    assert validate(str(path), output=said), said.getvalue()
    found = parse_single_table(file)
    field = {f.name: f for f in found.fields}
    assert (str(field["ra"].unit), field["ra"].ucd) == ("deg", "pos.eq.ra;meta.main")
    assert field["ra"].description == "Right ascension"
    table = found.to_table()
    assert table["ra"][1] == 1 / 7
    assert np.ma.is_masked(table["ra"][3]) or np.isnan(table["ra"][3])
    assert list(table["words"])[6] == "<&>"
    assert table["words"][7] == "é\ufffd"


def test_fits_is_a_standard_table_whatever_the_number_of_rows() -> None:
    for rows in (ROWS, [], ROWS * 200):
        with fits.open(written("fits", rows), checksum=True) as hdus:
            hdus.verify("exception")
            table, header = hdus[1].data, hdus[1].header
            assert len(table) == len(rows)
            assert header["TUNIT3"] == "deg"
            assert header["TUCD1"] == "meta.id;meta.main"
            if rows:
                assert np.isnan(table["ra"][3])
                assert table["ra"][1] == 1 / 7
                assert list(table["is_odd"][:2]) == [False, True]
                assert table["words"][7] == "\\xe9\\x02" or table["words"][7].startswith("\\xe9")


def test_parquet_holds_times_nulls_and_units() -> None:
    table = parquet.read_table(written("parquet"))
    assert table.num_rows == len(ROWS)
    assert table.schema.field("ra").metadata[b"unit"] == b"deg"
    assert table.column("ra").to_pylist()[3] is None
    assert table.column("seen").to_pylist()[0] == WHEN
    assert table.column("words").to_pylist() == NASTY


def test_a_file_that_was_cut_off_is_not_taken_for_a_whole_one() -> None:
    def cut(name: str) -> io.BytesIO:
        whole = written(name, ROWS * 500).getvalue()
        return io.BytesIO(whole[: len(whole) * 2 // 3])

    with pytest.raises(ArrowInvalid, match="magic bytes not found"):
        parquet.read_table(cut("parquet"))
    with pytest.raises(ParseError, match="no element found"):
        ET.parse(cut("votable"))
    with (
        pytest.warns(AstropyUserWarning, match="may have been truncated"),
        fits.open(cut("fits")) as hdus,
    ):
        assert len(hdus) == 2


@pytest.mark.django_db
@pytest.mark.parametrize("name", FORMATS)
def test_an_export_tells_its_length_digest_and_rows_beforehand(
    name: str, api_as: Callable[[str], APIClient]
) -> None:
    for ra in (10.0, 20.0, 30.0):
        make_object(ra, classification="=SUM(A1)", last_detected_at=WHEN)
    answer = api_as("viewer").get(f"/api/v1/objects/export/{name}/", {"ra_max": 25})
    body = answer.getvalue()
    assert answer["X-Row-Count"] == "2"
    assert answer["Content-Length"] == str(len(body))
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert answer["Repr-Digest"] == f"sha-256=:{digest}:"
    assert "attachment" in answer["Content-Disposition"]
    assert FORMATS[name].suffix in answer["Content-Disposition"]


@pytest.mark.django_db
def test_a_format_that_there_is_not_is_not_found_and_any_accept_header_is_served(
    api_as: Callable[[str], APIClient],
) -> None:
    client = api_as("viewer")
    assert client.get("/api/v1/objects/export/xlsx/").status_code == 404
    answer = client.get("/api/v1/objects/export/csv/", HTTP_ACCEPT="text/csv")
    assert answer.getvalue().startswith(b"name,ra,dec")
    assert APIClient().get("/api/v1/objects/export/csv/").status_code == 401


@pytest.mark.django_db
def test_a_light_curve_is_exported_with_its_fluxes_in_microjansky(
    api_as: Callable[[str], APIClient],
) -> None:
    owner = make_object()
    point = make_point(
        owner,
        make_difference_run(),
        mjd=61000.5,
        band="r",
        flux=100.0,
        flux_error=5.0,
        zero_point=23.9,
        flags=["EDGE", "OWN_WCS"],
    )
    point.save()
    answer = api_as("viewer").get(f"/api/v1/objects/{owner.pk}/light-curve/votable/")
    table = parse_single_table(io.BytesIO(answer.getvalue())).to_table()
    assert [f for f in table.colnames] == [column.name for column in LIGHT_CURVE_COLUMNS]
    assert (table["flux_ujy"][0], table["flux_error_ujy"][0]) == pytest.approx((100.0, 5.0))
    assert table["flags"][0] == "EDGE OWN_WCS"
    assert str(table["flux_ujy"].unit) == "uJy"


def test_every_column_says_what_it_is() -> None:
    for column in (*OBJECT_COLUMNS, *LIGHT_CURVE_COLUMNS):
        assert column.description
        assert column.ucd
        assert column.kind not in {"word", "text", "time"} or column.width
