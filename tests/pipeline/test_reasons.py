"""What people are told when a frame stops: plain words and what to do, no text of an error."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from astrid_site import control, pipeline
from astrid_site.core import jobs
from astrid_site.core.models import Job
from astrid_site.imaging.errors import AlgorithmError
from astrid_site.remedies import explain
from preprocessing.services import require_psf
from tests.catalog.factories import make_science_image
from tests.observations.factories import make_observation
from tests.web.factories import make_user

ROOT = Path(__file__).resolve().parents[2]
#: Where the steps of the pipeline say what defeats them.
SOURCES = (
    "preprocessing/algorithms",
    "differencing/algorithms",
    "differencing/services",
    "detection/algorithms",
)


def message_of(call: ast.Call, assigned: dict[str, ast.expr]) -> str:
    """The text of a raised error with numbers put in; empty where it is made elsewhere."""
    said: ast.expr | None = call.args[0] if call.args else None
    if isinstance(said, ast.Name):
        said = assigned.get(said.id)
    if isinstance(said, ast.Constant):
        return str(said.value)
    if isinstance(said, ast.JoinedStr):
        return "".join(str(p.value) if isinstance(p, ast.Constant) else "7" for p in said.values)
    return ""


def messages() -> list[str]:
    """Every sentence with which the science code stops a frame."""
    found = set()
    for path in (path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")):
        assigned: dict[str, ast.expr] = {}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
                        assigned[inner.targets[0].id] = inner.value
                    is_raise = isinstance(inner, ast.Raise) and isinstance(inner.exc, ast.Call)
                    if is_raise and getattr(inner.exc.func, "id", "") == "AlgorithmError":
                        found.add(message_of(inner.exc, assigned))
    return sorted(found - {""})


@pytest.mark.parametrize("message", messages())
def test_every_failure_has_a_code_and_a_remedy(message: str) -> None:
    said = explain(message, is_failure=True)
    assert said.code
    assert said.text.endswith(".")
    assert len(said.text) > len(message) + 10


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("too few clean stars for a PSF: 3, and 5 are needed", "few_stars"),
        ("the WCS is wrong: stars put the frame 5' away (40 stars match by pattern)", "wrong_wcs"),
        ("the difference (kernel) fails: coverage 0.1 is outside 0.8 to 1", "bad_difference"),
        ("suspicious: 900 candidates pass every cut, at most 50 are believable", "bad_difference"),
        ("no reference yet: no earlier frame of this field in this band", "no_reference_yet"),
        ("the reference covers 61% of the frame, 85% are needed", "little_overlap"),
        ("the frame is too small to calibrate: 20 x 20 pixels", "too_small"),
        ("this frame, a.fits: the PSF could not be measured: 2 stars of 5 needed", "no_psf"),
    ],
)
def test_common_troubles_are_told_apart(message: str, code: str) -> None:
    assert explain(message, is_failure=False).code == code


def test_numbers_of_the_engine_are_said_in_words() -> None:
    said = explain(
        "the difference (kernel) fails: coverage 0.1 is outside 0.8 to 1", is_failure=True
    )
    assert "only a part of the frame could be compared (10 %, limit 80 %). Look at" in said.text


@pytest.mark.django_db(transaction=True)
def test_a_list_never_shows_the_text_of_an_error(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    def broken(context: jobs.JobContext) -> jobs.Outcome:
        msg = "'NoneType' object has no attribute 'shape'"
        raise AttributeError(msg)

    monkeypatch.setattr(pipeline, "HANDLERS", {"preprocess": broken})
    row = make_observation()
    job = control.start(row)
    with pytest.raises(AttributeError):
        jobs.run(job.pk)
    client = Client()
    client.force_login(make_user("vera", "viewer"))
    for address in (
        "/",
        reverse("observations:list"),
        reverse("observations:detail", args=[row.pk]),
    ):
        page = client.get(address).content.decode()
        assert "a defect of AstrID stopped this step" in page, address
        assert "NoneType" not in page
    assert "NoneType" in Job.objects.get(pk=job.pk).detail


@pytest.mark.django_db
@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("curator", 200), ("admin", 200)])
def test_the_raw_text_is_for_those_who_look_after_the_program(role: str, status: int) -> None:
    row = make_observation()
    job = control.start(row)
    Job.objects.filter(pk=job.pk).update(detail="AttributeError: 'NoneType' object")
    client, user = Client(), make_user("vera", role)
    user.is_staff = role != "viewer"
    user.save()
    client.force_login(user)
    answer = client.get(reverse("admin:core_job_change", args=[job.pk]))
    assert answer.status_code == status
    assert ("AttributeError" in answer.content.decode()) == (status == 200)


def test_the_sentence_of_the_science_code_is_kept_as_it_was() -> None:
    error = AlgorithmError("too few clean stars for a PSF: 3, and 5 are needed", n_stars=3)
    assert explain(error.message, is_failure=True).text.startswith(error.message)


@pytest.mark.django_db
def test_a_reference_without_a_psf_is_called_by_its_file_and_role_with_what_helps() -> None:
    image = make_science_image(
        make_observation(observation_id="4007590"),
        metrics={"psf_source": "none", "n_psf_stars": 2},
    )
    with pytest.raises(AlgorithmError) as raised:
        require_psf(image, called="the frame that would be the reference")
    said = explain(raised.value.message, is_failure=True)
    assert said.code == "no_reference_psf"
    name = image.observation.raw_file.name
    assert said.text.startswith(f"the frame that would be the reference, {name}: the PSF could")
    assert "Name another frame as reference, or give that frame a PSF" in said.text
    assert "4007590" not in said.text
