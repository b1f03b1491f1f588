"""Who may do what, at every address of the site.

One table says it; the addresses come from the URL resolver, so an address without an entry fails.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from astrid_site.accounts import services
from astrid_site.accounts.models import ApiKey, User
from astrid_site.core.models import Job
from catalog.models import ForcedRequest
from curation.models import Assignment
from detection.models import DataSet, ScoringModel, TrainingRun
from differencing.models import DifferenceRun
from preprocessing.models import CalibrationMaster
from tests.web.factories import World

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROLES = ("anonymous", "viewer", "curator", "researcher", "admin")
ANYBODY, VIEWER, CURATOR, RESEARCHER, ADMIN = range(5)


def reads(level: int, **others: int) -> dict[str, int]:
    """An address that is read, and written with the other methods named."""
    return {"GET": level} | others


#: For every address, which role is the first that may use which method. All else is refused.
TABLE: dict[str, dict[str, int]] = {
    "home": reads(VIEWER),
    "tonight": reads(VIEWER),
    "events": reads(VIEWER),
    "previews": reads(VIEWER),
    "observations:list": reads(VIEWER),
    "observations:upload": reads(RESEARCHER, POST=RESEARCHER),
    "observations:detail": reads(VIEWER),
    "observations:image": reads(VIEWER),
    "observations:viewer": reads(VIEWER),
    "observations:view": reads(VIEWER),
    "observations:redraw": {"POST": RESEARCHER},
    "observations:retry": {"POST": RESEARCHER},
    "observations:cancel": {"POST": RESEARCHER},
    "preprocessing:calibration": reads(VIEWER),
    "preprocessing:master": reads(VIEWER),
    "preprocessing:picture": reads(VIEWER),
    "differencing:reference": reads(VIEWER),
    "differencing:picture": reads(VIEWER),
    "detection:cutout": reads(VIEWER),
    "detection:pixels": reads(VIEWER),
    "curation:vet": reads(CURATOR),
    "curation:queue": reads(CURATOR),
    "curation:decide": {"POST": CURATOR},
    "curation:undo": {"POST": CURATOR},
    "curation:snooze": {"POST": CURATOR},
    "curation:wake": {"POST": CURATOR},
    "curation:presence": {"POST": CURATOR},
    "curation:leave": {"POST": CURATOR},
    "curation:vet_candidate": reads(CURATOR),
    "curation:many": reads(CURATOR),
    "curation:decide_many": {"POST": CURATOR},
    "curation:undo_many": {"POST": CURATOR},
    "curation:mine": reads(CURATOR),
    "curation:blinding": {"POST": CURATOR},
    "curation:together": reads(VIEWER),
    "curation:make_rule": {"POST": RESEARCHER},
    "catalog:list": reads(VIEWER),
    "catalog:watched": reads(VIEWER),
    "catalog:forced": reads(VIEWER, POST=CURATOR),
    "catalog:forced_detail": reads(VIEWER),
    "catalog:state": {"POST": CURATOR},
    "catalog:withdraw": {"POST": CURATOR},
    "catalog:save_search": {"POST": VIEWER},
    "catalog:forget_search": {"POST": VIEWER},
    "catalog:without_place": reads(VIEWER),
    "catalog:detail": reads(VIEWER),
    "catalog:finder": reads(VIEWER),
    "catalog:finder_sheet": reads(VIEWER),
    "catalog:epoch": reads(VIEWER),
    "explain": reads(VIEWER),
    "models:list": reads(VIEWER),
    "models:detail": reads(VIEWER),
    "models:compare": reads(VIEWER),
    "models:promote": {"POST": RESEARCHER},
    "models:roll_back": {"POST": RESEARCHER},
    "models:role": {"POST": RESEARCHER},
    "datasets:list": reads(VIEWER),
    "datasets:build": {"POST": CURATOR},
    "datasets:detail": reads(VIEWER),
    "datasets:mosaic": reads(VIEWER),
    "datasets:cancel": {"POST": CURATOR},
    "datasets:train": {"POST": RESEARCHER},
    "datasets:training": reads(VIEWER),
    "datasets:stop_training": {"POST": RESEARCHER},
    "datasets:go_on": {"POST": RESEARCHER},
    "accounts:login": reads(ANYBODY, POST=ANYBODY, PUT=ANYBODY),
    "accounts:logout": {"POST": ANYBODY},
    "accounts:password": reads(VIEWER, POST=VIEWER, PUT=VIEWER),
    "accounts:keys": reads(VIEWER, POST=RESEARCHER),
    "accounts:revoke": {"POST": VIEWER},
    "api:health-live": reads(ANYBODY),
    "api:health-ready": reads(ANYBODY),
    "api:schema": reads(VIEWER),
    "api:docs": reads(VIEWER),
    "api:key-list": reads(RESEARCHER, POST=RESEARCHER),
    "api:key-detail": {"DELETE": RESEARCHER},
    "api:survey-list": reads(VIEWER),
    "api:observation-list": reads(VIEWER, POST=RESEARCHER),
    "api:observation-detail": reads(VIEWER),
    "api:observation-timeline": reads(VIEWER),
    "api:observation-retry": {"POST": RESEARCHER},
    "api:observation-cancel": {"POST": RESEARCHER},
    "api:job-list": reads(VIEWER),
    "api:job-detail": reads(VIEWER),
    "api:forced-list": {"POST": CURATOR},
    "api:forced-detail": reads(VIEWER),
    "api:forced-export": reads(VIEWER),
    "api:candidate-list": reads(VIEWER),
    "api:candidate-next": reads(CURATOR),
    "api:candidate-detail": reads(VIEWER),
    "api:candidate-pixels": reads(VIEWER),
    "api:candidate-panel": reads(VIEWER),
    "api:candidate-verdict": reads(VIEWER, PUT=CURATOR, DELETE=CURATOR),
    "api:candidate-consensus": reads(VIEWER),
    "api:explain": reads(VIEWER),
    "api:camera-list": reads(VIEWER),
    "api:master-list": reads(VIEWER),
    "api:master-detail": reads(VIEWER),
    "api:dataset-list": reads(VIEWER, POST=CURATOR),
    "api:dataset-detail": reads(VIEWER),
    "api:dataset-manifest": reads(VIEWER),
    "api:dataset-train": {"POST": RESEARCHER},
    "api:training-list": reads(VIEWER),
    "api:training-detail": reads(VIEWER),
    "api:model-list": reads(VIEWER),
    "api:model-detail": reads(VIEWER),
    "api:model-gate": reads(VIEWER),
    "api:model-promote": {"POST": RESEARCHER},
    "api:model-roll-back": {"POST": RESEARCHER},
    "api:object-list": reads(VIEWER),
    "api:object-context": reads(VIEWER),
    "api:object-cone": reads(VIEWER),
    "api:object-detail": reads(VIEWER),
    "api:object-search": reads(VIEWER),
    "api:object-export": reads(VIEWER),
    "api:object-curve": reads(VIEWER),
    "api:object-statements": reads(VIEWER, POST=CURATOR),
    "api:statement-detail": {"DELETE": CURATOR},
    "api:coverage": reads(VIEWER),
    "api:search-list": reads(VIEWER, POST=VIEWER),
    "api:search-detail": {"DELETE": VIEWER},
    "vo:cone": reads(VIEWER),
}
#: The admin is one house: staff may come in, nobody else may see any of its rooms.
ADMIN_TABLE = dict.fromkeys(METHODS, ADMIN)


@dataclass(frozen=True)
class Route:
    """One address of the resolver."""

    name: str
    path: str
    table: dict[str, int]


def named_patterns(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            yield from named_patterns(pattern, inner)
        else:
            yield f"{prefix}{pattern.name}", pattern


def all_names() -> list[tuple[str, URLPattern]]:
    return list(named_patterns(get_resolver()))


def arguments(world: World, key: ApiKey) -> dict[str, dict[str, Any]]:
    """What fills the addresses: rows that exist, so that a 404 hides nothing."""
    frame, candidate, thing = world.observations[0], world.detections[0], world.objects[0]
    run = DifferenceRun.objects.get(observation=frame)
    forced = ForcedRequest.objects.create(owner=key.user, places=[[150.0, 2.0]])
    by_name = {
        "tonight": {"name": "work"},
        "observations:image": {"observation_id": frame.pk, "panel": "science"},
        "observations:view": {
            "observation_id": frame.pk,
            "stage": "difference",
            "sha256": run.preview_file.sha256,
            "part": "score/0/0/0",
        },
        "differencing:picture": {"reference_id": run.reference_id, "name": "image"},
        "detection:cutout": {"detection_id": candidate.pk, "panel": "strip"},
        "detection:pixels": {"detection_id": candidate.pk, "digest": "any"},
        "catalog:epoch": {"object_id": thing.pk, "run_id": run.pk},
        "api:key-detail": {"pk": key.pk},
        "api:job-detail": {"pk": Job.objects.all()[0].pk},
        "api:candidate-panel": {"pk": candidate.pk, "panel": "score"},
        "api:object-export": {"file_format": "csv"},
        "api:forced-export": {"pk": forced.pk, "file_format": "csv"},
        "api:object-curve": {"pk": thing.pk, "file_format": "fits"},
        "api:search-detail": {"pk": uuid4()},
        "api:statement-detail": {"object_id": thing.pk, "pk": uuid4()},
    }
    master = CalibrationMaster.objects.all()[0]
    pk = {"observation": frame.pk, "candidate": candidate.pk, "object": thing.pk}
    pk["master"] = master.pk
    model = ScoringModel.objects.get(role=ScoringModel.Role.CHAMPION)
    pk["model"] = model.pk
    dataset, training = DataSet.objects.all()[0], TrainingRun.objects.all()[0]
    pk |= {"forced": forced.pk, "dataset": dataset.pk, "training": training.pk}
    general = {
        "observation_id": frame.pk,
        "object_id": thing.pk,
        "detection_id": candidate.pk,
        "file_id": run.file_id,
        "reference_id": run.reference_id,
        "key_id": key.pk,
        "search_id": uuid4(),
        "statement_id": uuid4(),
        "master_id": master.pk,
        "model_id": model.pk,
        "dataset_id": dataset.pk,
        "training_id": training.pk,
        "request_id": forced.pk,
    }
    return {
        name: by_name.get(name)
        or {
            word: pk[name.removeprefix("api:").split("-")[0]] if word == "pk" else general[word]
            for word in pattern.pattern.converters
        }
        for name, pattern in all_names()
        if not name.startswith("admin:")
    }


def site_routes(world: World, key: ApiKey) -> list[Route]:
    told = arguments(world, key)
    return [Route(n, reverse(n, kwargs=told[n]), TABLE[n]) for n in told]


def admin_routes(user: User) -> list[Route]:
    """Every address of the admin; rows of each table where it has any."""
    rows = {m._meta.label_lower: m._default_manager.first() for m in admin.site._registry}
    found = []
    for name, pattern in all_names():
        words = name.removeprefix("admin:").split("_")
        if not name.startswith("admin:") or not pattern.name:
            continue
        told: dict[str, Any] = {}
        if "content_type_id" in pattern.pattern.converters:
            told = {"content_type_id": 1, "object_id": user.pk}
        elif "object_id" in pattern.pattern.converters:
            row = rows[".".join(words[:2])]
            told = {"object_id": row.pk if row is not None else uuid4()}
        elif "app_label" in pattern.pattern.regex.groupindex:
            told = {"app_label": "core"}
        elif "id" in pattern.pattern.converters:
            told = {"id": user.pk}
        with contextlib.suppress(KeyError):
            found.append(Route(name, reverse(name, kwargs=told), ADMIN_TABLE))
    return [*found, Route("admin:None", "/admin/nowhere/", ADMIN_TABLE)]


def ask(client: Client, method: str, path: str) -> Any:
    response = client.generic(method, path, HTTP_ACCEPT="*/*")
    if response.streaming and "event-stream" not in response["Content-Type"]:
        drain(response)
    return response


@async_to_sync
async def drain(response: Any) -> None:
    async for _ in response:
        pass


def is_refusal_of_a_stranger(route: Route, response: Any) -> bool:
    if route.name.startswith(("api:", "vo:")) and route.name != "api:docs":
        return response.status_code == 401 and response.json()["code"] == "not_authenticated"
    if route.name == "events":
        return response.status_code == 403
    return response.status_code == 302 and response.url.startswith(("/account/login/", "/admin/"))


def complaint(route: Route, method: str, role: str, response: Any) -> str:
    """What is wrong with an answer; empty if it is as the table says."""
    status = response.status_code
    level = route.table.get(method)
    told = f"{method} {route.path} ({route.name}) as {role}: {status}"
    if status >= 500:
        return told
    if level == ANYBODY:
        return told if status in {401, 403, 405} else ""
    if role == "anonymous":
        fine = is_refusal_of_a_stranger(route, response) or (level is None and status == 405)
        return "" if fine else told
    if level is None:
        # who is in already is sent on from the login page, whatever the method
        return "" if status in {403, 405} or route.name == "accounts:login" else told
    if ROLES.index(role) < level:
        return "" if status == 403 else told
    goes_to_login = status == 302 and response.url.startswith("/account/login/")
    if route.name.startswith("admin:"):
        return told if status == 401 or (goes_to_login and route.name != "admin:logout") else ""
    return told if status in {401, 403, 405} or goes_to_login else ""


def test_every_address_has_an_entry_and_every_entry_an_address() -> None:
    names = {name for name, _ in all_names() if not name.startswith("admin:")}
    assert names == set(TABLE)


@pytest.mark.django_db
@pytest.mark.parametrize("role", ROLES)
def test_every_page_file_and_endpoint_answers_each_role_as_the_table_says(
    role: str, world: World, people: dict[str, User], browser_as: Any
) -> None:
    key, _ = services.create_api_key(people["admin"], name="k", can_write=True)
    complaints = []
    client = browser_as(role)
    for route in site_routes(world, key):
        for method in METHODS:
            complaints.append(complaint(route, method, role, ask(client, method, route.path)))
            if route.name == "accounts:logout":
                client = browser_as(role)
    assert [c for c in complaints if c] == []


@pytest.mark.django_db
@pytest.mark.parametrize("role", ROLES)
def test_every_address_of_the_admin_is_closed_to_all_but_admins(
    role: str, world: World, people: dict[str, User], browser_as: Any
) -> None:
    complaints = []
    client = browser_as(role)
    routes = admin_routes(people["admin"])
    assert len(routes) > 100
    for route in routes:
        if route.name == "admin:login" and role == "anonymous":
            continue  # only redirects to the one login page, see test_login.py
        for method in METHODS:
            complaints.append(complaint(route, method, role, ask(client, method, route.path)))
            if route.name == "admin:logout":
                client = browser_as(role)
    assert [c for c in complaints if c] == []


@pytest.mark.django_db
def test_a_refusal_does_not_tell_whether_a_thing_exists(
    world: World, people: dict[str, User], browser_as: Any
) -> None:
    key, _ = services.create_api_key(people["admin"], name="k", can_write=True)
    told = arguments(world, key)
    for name, table in TABLE.items():
        for method, level in table.items():
            lower = [r for r in ROLES[:4] if ROLES.index(r) < level]
            if not told[name] or not lower:
                continue
            client = browser_as(lower[-1])
            missing = {
                k: uuid4() if k.endswith(("_id", "pk")) else v for k, v in told[name].items()
            }
            there = ask(client, method, reverse(name, kwargs=told[name]))
            nowhere = ask(client, method, reverse(name, kwargs=missing))
            assert there.status_code == nowhere.status_code, (name, method, lower[-1])
            if there.status_code == 302:
                assert len(there.url) == len(nowhere.url)
            else:
                assert len(there.content) == len(nowhere.content)


@pytest.mark.django_db
def test_another_persons_key_is_as_absent_as_no_key_at_all(
    people: dict[str, User], browser_as: Any
) -> None:
    theirs, _ = services.create_api_key(people["admin"], name="theirs", can_write=True)
    client = browser_as("researcher")
    for name, word, method in (
        ("api:key-detail", "pk", "DELETE"),
        ("accounts:revoke", "key_id", "POST"),
    ):
        there = ask(client, method, reverse(name, kwargs={word: theirs.pk}))
        nowhere = ask(client, method, reverse(name, kwargs={word: uuid4()}))
        assert there.status_code == nowhere.status_code == 404
        assert len(there.content) == len(nowhere.content)
    theirs.refresh_from_db()
    assert theirs.revoked_at is None
    assert client.get("/api/v1/keys/").json()["results"] == []


@pytest.mark.django_db
def test_a_role_given_by_a_query_or_a_body_changes_nothing(
    world: World, people: dict[str, User], browser_as: Any
) -> None:
    client = browser_as("viewer")
    data = {"role": "admin", "is_staff": "1", "user": people["admin"].pk}
    assert client.get("/api/v1/keys/", data).status_code == 403
    assert client.get("/admin/", data).status_code == 403
    frame = SimpleUploadedFile("f.fits", b"x")
    assert client.post("/api/v1/observations/", data | {"file": frame}).status_code == 403


@pytest.mark.django_db
def test_reading_twice_leaves_the_rows_as_they_were(
    world: World, people: dict[str, User], browser_as: Any
) -> None:
    from django.core import serializers as rows
    from django.db.models import Model

    def digest() -> dict[str, str]:
        # a login is noted; who opens the vetting page has its candidates for a while
        noted = {User, Assignment}
        kept: list[type[Model]] = [m for m in admin.site._registry if m not in noted]
        return {
            m._meta.label: rows.serialize("json", m._default_manager.order_by("pk")) for m in kept
        }

    key, _ = services.create_api_key(people["admin"], name="k", can_write=True)
    client, routes = browser_as("admin"), site_routes(world, key)
    before = digest()
    for route in routes:
        for _ in range(2):
            ask(client, "GET", route.path)
    assert digest() == before
