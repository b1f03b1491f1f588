"""Handing frames in: accepted, known, refused; once, however often it is sent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from rest_framework.test import APIClient

from astrid_site.accounts import services as account_services
from astrid_site.core import tasking
from astrid_site.core.models import FileKind, IdempotencyKey, Job, StoredFile
from observations.models import Observation
from tests.api.fixtures import frame_bytes
from tests.web.factories import make_user

Api = Callable[[str], APIClient]
URL = "/api/v1/observations/"


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at the wire to the broker."""
    monkeypatch.setattr(tasking.app, "send_task", lambda *args, **kwargs: None)


def upload(data: bytes, name: str = "frame.fits") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data, content_type="application/fits")


def submit(client: APIClient, data: bytes, *, key: str = "", **fields: Any) -> Any:
    body = {"file": upload(data), "survey": "Test survey"} | fields
    headers = {"HTTP_IDEMPOTENCY_KEY": key} if key else {}
    return client.post(URL, body, format="multipart", **headers)


@pytest.mark.django_db
def test_a_frame_is_accepted_with_links_to_its_job_and_itself(api_as: Api) -> None:
    client = api_as("researcher")
    answer = submit(client, frame_bytes(), exposure_s="30", target="my field", role="template")
    assert answer.status_code == 202, answer.content
    told = answer.json()
    assert told["outcome"] == "created"
    job = client.get(told["job_url"]).json()
    assert (job["kind"], job["state"]) == ("preprocess", "queued")
    assert client.get(told["jobs_url"]).json()["results"][0]["id"] == job["id"]
    seen = client.get(told["observation_url"]).json()
    assert (seen["exposure_s"], seen["target"], seen["role"]) == (30.0, "my field", "template")
    assert set(seen["overrides"]) >= {"exposure_s", "target"}


@pytest.mark.django_db
def test_a_bad_mask_is_refused_by_its_field_and_its_own_name(api_as: Api) -> None:
    mask = upload(b"no plane at all" * 300, name="my mask.fits")
    answer = submit(api_as("researcher"), frame_bytes(), mask=mask)
    assert answer.status_code == 422
    reason = answer.json()["detail"]
    assert reason.startswith("mask my mask.fits: ")
    assert ".upload" not in reason
    assert not StoredFile.objects.exists()


@pytest.mark.django_db
def test_a_given_mask_keeps_the_name_it_was_sent_under(api_as: Api) -> None:
    answer = submit(
        api_as("researcher"), frame_bytes(1), mask=upload(frame_bytes(2), name="mine.fits")
    )
    assert answer.status_code == 202, answer.content
    assert StoredFile.objects.get(kind=FileKind.COMPANION).name == "mine.fits"


@pytest.mark.django_db
def test_the_same_bytes_are_known_and_other_bytes_under_the_same_id_are_refused(
    api_as: Api,
) -> None:
    client = api_as("researcher")
    first = submit(client, frame_bytes(1)).json()
    again = submit(client, frame_bytes(1))
    assert again.status_code == 200
    assert again.json()["outcome"] == "duplicate"
    assert again.json()["observation"] == first["observation"]
    other = submit(client, frame_bytes(2, OBSID="frame-1"))
    assert other.status_code == 422
    assert other.json()["outcome"] == "refused"
    assert (other.json()["code"], other.json()["status"]) == ("conflict", 422)


@pytest.mark.django_db
@pytest.mark.parametrize("data", [b"", b"no FITS at all" * 300, frame_bytes()[:2000]])
def test_what_is_no_image_is_refused_with_a_reason_and_leaves_nothing(
    api_as: Api, data: bytes
) -> None:
    answer = submit(api_as("researcher"), data)
    assert answer.status_code in {400, 422}, answer.content
    assert Observation.objects.count() == StoredFile.objects.count() == Job.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields",
    [
        {"exposure_s": "nan"},
        {"gain": "1e999"},
        {"observed_at": "yesterday"},
        {"role": "extra"},
        {"target": "a\0b"},
        {"band": "x" * 31},
        {"survey": "  "},
        {"survey": "s" * 101},
    ],
)
def test_impossible_fields_are_refused(api_as: Api, fields: dict[str, str]) -> None:
    answer = submit(api_as("researcher"), frame_bytes(), **fields)
    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"]
    assert Observation.objects.count() == 0


@pytest.mark.django_db
def test_a_negative_exposure_is_refused_by_name(api_as: Api) -> None:
    answer = submit(api_as("researcher"), frame_bytes(), exposure_s="-3")
    assert answer.status_code == 422
    assert "exposure_s" in answer.json()["detail"]


@pytest.mark.django_db
def test_an_upload_over_the_limit_is_refused(api_as: Api, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 1000
    answer = submit(api_as("researcher"), frame_bytes())
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


@pytest.mark.django_db
def test_json_and_broken_multipart_are_refused(api_as: Api) -> None:
    client = api_as("researcher")
    assert client.post(URL, {"survey": "x"}, format="json").status_code == 415
    broken = client.generic("POST", URL, b"--x\r\nnonsense", content_type="multipart/form-data")
    assert broken.status_code == 400


@pytest.mark.django_db
def test_a_repeated_key_gives_the_first_answer_and_another_body_a_conflict(api_as: Api) -> None:
    client = api_as("researcher")
    first = submit(client, frame_bytes(1), key="night-1")
    again = submit(client, frame_bytes(1), key="night-1")
    assert (again.status_code, again.json()) == (202, first.json())
    for other in (
        submit(client, frame_bytes(2), key="night-1"),
        submit(client, frame_bytes(1), key="night-1", target="other"),
    ):
        assert other.status_code == 409
        assert other.json()["code"] == "conflict"
    assert submit(client, frame_bytes(1), key="night-1").json() == first.json()
    assert Observation.objects.count() == 1


@pytest.mark.django_db
def test_keys_of_different_people_do_not_meet(api_as: Api) -> None:
    mine = submit(api_as("researcher"), frame_bytes(1), key="k")
    theirs = submit(api_as("admin"), frame_bytes(2), key="k")
    assert (mine.status_code, theirs.status_code) == (202, 202)


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["k" * 201, "k\x07", "ключ"])
def test_an_unusable_key_is_refused(api_as: Api, key: str) -> None:
    assert submit(api_as("researcher"), frame_bytes(1), key=key).status_code == 400
    assert Observation.objects.count() == 0


@pytest.mark.django_db
def test_a_key_whose_request_failed_is_free_again(api_as: Api, settings: Any) -> None:
    client = api_as("researcher")
    settings.MAX_UPLOAD_BYTES = 1000
    assert submit(client, frame_bytes(1), key="k").status_code == 413
    settings.MAX_UPLOAD_BYTES = 10**6
    assert submit(client, frame_bytes(1), key="k").status_code == 202


@pytest.mark.django_db
def test_a_key_left_by_a_dead_process_is_taken_over_after_a_while(
    api_as: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from astrid_site.core import idempotency

    client = api_as("researcher")
    first = submit(client, frame_bytes(1), key="k").json()
    IdempotencyKey.objects.update(status=0, answer={})
    monkeypatch.setattr(idempotency, "PATIENCE_S", 0.0)
    assert submit(client, frame_bytes(1), key="k").status_code == 409
    monkeypatch.setattr(idempotency, "ABANDONED_AFTER", timedelta(0))
    told = submit(client, frame_bytes(1), key="k")
    assert (told.status_code, told.json()["observation"]) == (200, first["observation"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["", "the-same-key"])
def test_fifty_equal_submissions_at_once_make_one_observation(key: str) -> None:
    user = make_user("many", "researcher")
    _, secret = account_services.create_api_key(user, name="night", can_write=True)
    data = frame_bytes(5)

    def send(_number: int) -> tuple[int, dict[str, Any]]:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Key {secret}")
        try:
            answer = submit(client, data, key=key)
            return answer.status_code, answer.json()
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=50) as pool:
        answers = list(pool.map(send, range(50)))
    assert [told for status, told in answers if status not in {200, 202}] == []
    assert Observation.objects.count() == 1
    assert Job.objects.filter(kind="preprocess").count() == 1
    assert {told["observation"] for _, told in answers} == {str(Observation.objects.get().pk)}
    statuses = sorted(status for status, _ in answers)
    if key:
        assert all(answer == answers[0] for answer in answers)
        assert statuses == [202] * 50
    else:
        assert statuses == [200] * 49 + [202]
