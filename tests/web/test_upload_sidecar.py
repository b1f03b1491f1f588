"""A table beside uploaded frames: the rules and refusals of ``manage.py ingest``."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import FileKind, StoredFile
from observations.models import Observation
from observations.services import arrange, read_sidecar
from tests.api.fixtures import frame_bytes

JSON = {"Accept": "application/json"}


def mask_bytes() -> bytes:
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.zeros((96, 96), np.uint8)).writeto(buffer)
    return buffer.getvalue()


FILES = {
    "one.fits": frame_bytes(1),
    "two.fits": frame_bytes(2),
    "bad pixels.fits": mask_bytes(),
}
TABLE = "file,target,exposure_s,mask\none.fits,M 31,30,bad pixels.fits\ntwo.fits,M 33,,\n"


@pytest.fixture
def send(client_of: Callable[[str], Client]) -> Callable[..., Any]:
    """Hands files over as the page does."""
    client = client_of("researcher")

    def post(files: dict[str, bytes], table: str = "", **more: Any) -> Any:
        told: dict[str, Any] = {"survey": "Mine"}
        told["frames"] = [SimpleUploadedFile(name, data) for name, data in files.items()]
        if table:
            told["sidecar"] = SimpleUploadedFile("night.csv", table.encode())
        return client.post(reverse("observations:upload"), told | more, headers=JSON)

    return post


def test_a_table_corrects_the_frames_and_its_planes_are_no_frames(
    send: Callable[..., Any],
) -> None:
    results = send(FILES, TABLE).json()["results"]
    assert {r["file_name"]: r["outcome"] for r in results} == {
        "one.fits": "created",
        "two.fits": "created",
    }
    one, two = Observation.objects.order_by("target")
    assert (one.target, one.exposure_s) == ("M 31", 30.0)
    assert set(one.overrides) >= {"target", "exposure_s"}
    assert (two.target, two.exposure_s, two.mask_file) == ("M 33", 60.0, None)
    assert one.mask_file == StoredFile.objects.get(kind=FileKind.COMPANION)
    assert one.mask_file.name == "bad pixels.fits"


def test_a_corrected_table_corrects_what_gave_no_result_yet(send: Callable[..., Any]) -> None:
    send(FILES, TABLE)
    again = send(FILES, TABLE.replace("M 33", "M 101")).json()["results"]
    assert {r["file_name"]: r["outcome"] for r in again} == {
        "one.fits": "duplicate",
        "two.fits": "updated",
    }
    assert set(Observation.objects.values_list("target", flat=True)) == {"M 31", "M 101"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "table",
    [
        "file,colour\none.fits,red\n",
        "name,target\none.fits,M 31\n",
        "file,exposure_s\none.fits,-3\n",
        "file,observed_at\none.fits,yesterday\n",
        "file,role\none.fits,star\n",
        "file,target\none.fits,M 31\none.fits,M 33\n",
        "file,target\nthree.fits,M 31\n",
        "file,mask\none.fits,nothing.fits\n",
        "file,target\none.fits,M 31,more\n",
        "file,target\n,M 31\n",
    ],
)
def test_a_bad_table_is_refused_in_the_words_of_the_command_and_nothing_comes_in(
    send: Callable[..., Any], tmp_path: Path, table: str
) -> None:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "night.csv").write_text(table)
    with pytest.raises(CommandError) as refusal:
        call_command("ingest", tmp_path, sidecar=tmp_path / "night.csv", verbosity=0)
    answer = send(FILES, table)
    assert answer.status_code == 422
    assert answer.json()["error"] == f"{refusal.value}."
    assert not Observation.objects.exists()
    assert not StoredFile.objects.exists()


@pytest.mark.parametrize("path", ["/etc/hostname", "../../etc/hostname", "{here}"])
def test_a_table_cannot_name_files_of_the_server(send: Callable[..., Any], path: str) -> None:
    named = path.format(here=__file__)
    answer = send(FILES, f"file,mask\none.fits,{named}\n")
    assert answer.json()["error"] == f"night.csv row 1: mask: no file {Path(named).name}."
    answer = send(FILES, f"file,target\n{named},M 31\n")
    assert answer.json()["error"] == f"night.csv: no file {named}."


def test_the_page_asks_by_names_what_to_send_together_and_nothing_is_stored(
    send: Callable[..., Any],
) -> None:
    names = [*FILES, "one_mask.fits"]
    told = send({}, TABLE, names=json.dumps(names)).json()
    assert told["plan"] == [
        {"file": "one.fits", "with": ["bad pixels.fits"]},
        {"file": "two.fits", "with": []},
    ]
    (held,) = told["results"]
    assert (held["file_name"], held["code"]) == ("one_mask.fits", "looks_like_companion")
    assert told["names"] == names
    assert not Observation.objects.exists()


def test_a_frame_comes_alone_with_its_planes_while_the_table_names_others_too(
    send: Callable[..., Any],
) -> None:
    names = json.dumps([*FILES])
    both = {name: FILES[name] for name in ("one.fits", "bad pixels.fits")}
    (result,) = send(both, TABLE, names=names).json()["results"]
    assert (result["file_name"], result["outcome"]) == ("one.fits", "created")
    (result,) = send({"one.fits": FILES["one.fits"]}, TABLE, names=names).json()["results"]
    assert result["outcome"] == "refused"
    assert "bad pixels.fits was not sent with it" in result["reason"]


@pytest.mark.parametrize(
    ("files", "names", "words"),
    [
        ({}, "", "Choose at least one FITS file"),
        ({}, "7", "list of names"),
        ({}, '["a.fits", "a.fits"]', "two files are called a.fits"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(
    send: Callable[..., Any], files: dict[str, bytes], names: str, words: str
) -> None:
    answer = send(files, names=names)
    assert answer.status_code == 422
    assert words in answer.json()["error"]


def test_something_large_is_not_read_as_a_table(send: Callable[..., Any]) -> None:
    answer = send(FILES, "x" * (5 * 2**20 + 1))
    assert answer.status_code == 422
    assert "larger than 5 MB" in answer.json()["error"]


def test_the_example_of_the_page_is_a_good_table_and_names_every_column(
    client_of: Callable[[str], Client],
) -> None:
    path = Path(settings.BASE_DIR) / "static" / "examples" / "sidecar.csv"
    names = ["night1-001.fits", "night2-001.fits", "night2-001_mask.fits"]
    first, second = arrange(names, sidecar=path)
    assert first.overrides.values["role"] == "template"
    assert second.overrides.companions == {"mask": Path("night2-001_mask.fits")}
    page = client_of("researcher").get(reverse("observations:upload")).content.decode()
    assert path.read_text().splitlines()[1] in page
    assert "observation_id, target, band" in page
    with pytest.raises(ApplicationError, match="no file"):
        read_sidecar(path)
