"""Simple Cone Search 1.03, asked as the Virtual Observatory asks it."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pyvo
import requests
from astropy.io.votable import parse, validate
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from astrid_site.accounts import services
from astrid_site.imaging.healpix import separation_arcsec
from tests.api.fixtures import api_as, browser_as, people
from tests.catalog.factories import make_object

__all__ = ["api_as", "browser_as", "people"]
ADDRESS = "/vo/cone"


def seed() -> None:
    """Objects at the pole, over RA 0 and elsewhere."""
    for ra, dec in ((0.05, 0.0), (359.95, 0.02), (0.0, 89.95), (180.0, 89.95), (150.0, 2.0)):
        make_object(ra, dec, classification="SN <Ia>", brightest_magnitude=18.5)


def names(table: Any) -> set[str]:
    return {str(name) for name in table["name"]}


@pytest.mark.django_db(transaction=True)
def test_pyvo_finds_what_is_there_over_http(
    live_server: LiveServer, people: dict[str, Any]
) -> None:
    seed()
    _, secret = services.create_api_key(people["viewer"], name="vo", can_write=False)
    with requests.Session() as session:
        session.headers["Authorization"] = f"Key {secret}"
        service = pyvo.dal.SCSService(f"{live_server.url}{ADDRESS}", session=session)
        across = service.search(pos=(0.0, 0.0), radius=0.2, verbosity=1)
        assert len(across) == 2
        assert across.to_table().colnames == ["name", "ra", "dec"]
        assert {(row.pos.ra.deg, row.pos.dec.deg) for row in across} == {
            (0.05, 0.0),
            (359.95, 0.02),
        }
        assert all(row.id.startswith("AstrID J") for row in across)
        polar = service.search(pos=(77.0, 90.0), radius=0.06, verbosity=3)
        assert len(polar) == 2
        assert len(polar.to_table().colnames) == 13
        assert len(service.search(pos=(0.0, 0.0), radius=0.0)) == 0
        with pytest.raises(pyvo.dal.DALQueryError, match="SR must be"):
            service.search(pos=(0.0, 0.0), radius=200.0)


@pytest.mark.django_db
def test_the_columns_of_the_standard_are_there_once(api_as: Callable[[str], APIClient]) -> None:
    seed()
    answer = api_as("viewer").get(ADDRESS, {"RA": "150", "DEC": "2", "SR": "0.1"})
    assert answer["Content-Type"] == "text/xml;content=x-votable"
    document = parse(io.BytesIO(answer.content))
    assert len(document.resources) == len(document.resources[0].tables) == 1
    ucds = [(f.ucd, f.datatype) for f in document.resources[0].tables[0].fields]
    for ucd, kind in (
        ("ID_MAIN", "char"),
        ("POS_EQ_RA_MAIN", "double"),
        ("POS_EQ_DEC_MAIN", "double"),
    ):
        assert ucds.count((ucd, kind)) == 1
    table = document.get_first_table().to_table()
    assert separation_arcsec(150, 2, float(table["ra"][0]), float(table["dec"][0])) < 1e-6


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "RA is missing"),
        ("RA=1&DEC=2", "SR is missing"),
        ("RA=1&SR=2", "DEC is missing"),
        ("RA=&DEC=2&SR=1", "RA is missing"),
        ("RA=10:00:00&DEC=2&SR=1", "RA must be a decimal number"),
        ("RA=361&DEC=2&SR=1", "from 0 to 360"),
        ("RA=1&DEC=-91&SR=1", "from -90 to 90"),
        ("RA=1&DEC=2&SR=-1", "from 0 to 180"),
        ("RA=1&DEC=2&SR=181", "from 0 to 180"),
        ("RA=nan&DEC=2&SR=1", "RA must be"),
        ("RA=1&DEC=2&SR=inf", "SR must be"),
        ("RA=1&DEC=2&SR=1&VERB=4", "VERB must be"),
        ("RA=1&DEC=2&SR=1&VERB=x", "VERB must be"),
        ("RA=1&RA=2&DEC=2&SR=1", "RA is given more than once"),
        ("RA=1&ra=2&DEC=2&SR=1", "RA is given more than once"),
        ("RA=%3Cb%3E%00&DEC=2&SR=1", "RA must be"),
    ],
)
def test_what_is_no_cone_is_answered_with_the_error_of_the_standard(
    query: str, words: str, api_as: Callable[[str], APIClient]
) -> None:
    answer = api_as("viewer").get(f"{ADDRESS}?{query}")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/xml")
    errors = [i for i in parse(io.BytesIO(answer.content)).infos if i.name == "Error"]
    assert len(errors) == 1
    assert words in errors[0].value


@pytest.mark.django_db
def test_names_are_read_in_any_case_and_what_is_not_known_is_ignored(
    api_as: Callable[[str], APIClient],
) -> None:
    seed()
    answer = api_as("viewer").get(f"{ADDRESS}?ra=360&Dec=0&sr=0.2&verb=1&catalog=any")
    assert names(parse(io.BytesIO(answer.content)).get_first_table().to_table()) != set()


@pytest.mark.django_db
def test_more_rows_than_are_sent_are_told_as_an_overflow(
    api_as: Callable[[str], APIClient],
) -> None:
    seed()
    asked = {"RA": "0", "DEC": "0", "SR": "180", "MAXREC": "2"}
    document = parse(io.BytesIO(api_as("viewer").get(ADDRESS, asked).content))
    assert len(document.get_first_table().to_table()) == 2
    assert [i.value for i in document.resources[0].infos] == ["OK", "OVERFLOW"]


@pytest.mark.django_db
def test_strangers_are_told_to_sign_in_whatever_they_accept() -> None:
    answer = APIClient().get(ADDRESS, HTTP_ACCEPT="application/x-votable+xml")
    assert answer.status_code == 401
    assert answer.json()["code"] == "not_authenticated"


def complaints(path: Path) -> list[str]:
    """What astropy's validator says, but that it does not know the UCDs the standard asks for."""
    said = io.StringIO()
    validate(str(path), output=said)
    lines = [line for line in said.getvalue().splitlines() if re.match(r"\d+: [WE]\d+", line)]
    return [line for line in lines if not re.search(r"W06: Invalid UCD '(ID_MAIN|POS_EQ)", line)]


@pytest.mark.django_db
def test_answers_and_errors_are_valid_votables(
    api_as: Callable[[str], APIClient], tmp_path: Path
) -> None:
    seed()
    for number, query in enumerate(("RA=0&DEC=0&SR=180&VERB=3", "RA=0&DEC=0&SR=0", "RA=x")):
        path = tmp_path / f"{number}.vot"
        path.write_bytes(api_as("viewer").get(f"{ADDRESS}?{query}").content)
        assert complaints(path) == []
        if (stilts := shutil.which("stilts")) is not None:
            told = subprocess.run(
                [stilts, "votlint", f"votable={path}"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (told.stdout + told.stderr).strip() == ""
