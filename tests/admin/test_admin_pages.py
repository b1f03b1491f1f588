"""The admin: every table is there, opens, and costs no query per row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from astrid_site.accounts import services
from astrid_site.accounts.models import ApiKey, LoginFailure, User
from astrid_site.core import audit
from astrid_site.core.events import publish
from astrid_site.core.models import AuditEntry, FileKind, IdempotencyKey, Job, StoredFile
from astrid_site.core.storage import put_bytes
from catalog.models import ContextList, ForcedRequest, ObjectStatement, SavedSearch
from curation.models import ConsensusRule, Snooze, SpotCheck, Verdict
from curation.services import give_verdict
from detection.models import CanaryResult, CanarySet, ScoringModel
from differencing.models import ReferenceEpoch, ReferenceImage
from observations.models import Observation, Survey
from preprocessing.models import CalibrationMaster, Camera, ReferenceCatalog, ScienceImage
from tests.preprocessing.factories import make_catalog, make_master
from tests.web.factories import World, make_epoch

pytestmark = pytest.mark.django_db
OURS = ("core", "accounts", "observations", "preprocessing", "differencing", "detection",
        "catalog", "curation")  # fmt: skip
MODELS = [model for app in OURS for model in apps.get_app_config(app).get_models()]


@pytest.fixture
def full_world(world: World, people: dict[str, User]) -> World:
    """At least one row in every table."""
    fill(world, people, 0)
    return world


def fill(world: World, people: dict[str, User], number: int) -> None:
    give_verdict(world.detections[0], people["curator"], label="real", comment=str(number))
    services.create_api_key(people["admin"], name=f"k{number}", can_write=False)
    publish("observation.changed", subject_id=world.observations[0].pk)
    audit.record(people["admin"], "test.done", world.survey)
    LoginFailure.objects.create(account="a" * 64, address="10.0.0.1")
    IdempotencyKey.objects.create(
        user=people["admin"], key=f"k{number}", body_sha256="0" * 64, status=202, answer={}
    )
    reference = ReferenceImage.objects.create(
        survey=world.survey,
        band="r",
        file=stored(f"reference {number}"),
        stars_file=stored(f"stars {number}"),
        epochs_digest=str(number) * 64,
    )
    make_master(world.survey, exposure_s=float(number))
    ContextList.objects.create(
        name=f"stars {number}",
        kind="star",
        file=stored(f"known {number}"),
        epoch=2016.0,
        match_arcsec=1.5,
        n_rows=1,
    )
    make_catalog(world.survey)
    curator = people["curator"]
    ObjectStatement.objects.create(
        astro_object=world.objects[0], kind="alias", text=f"name {number}", said_by=curator
    )
    SavedSearch.objects.create(owner=curator, name=f"search {number}")
    ForcedRequest.objects.create(owner=curator, places=[[10.0, 20.0]])
    ConsensusRule.objects.create(made_by=curator)
    SpotCheck.objects.create(detection=world.detections[0], curator=curator, batch=uuid4())
    Snooze.objects.create(unit=uuid4(), curator=curator, n_detections=number)
    canaries = CanarySet.objects.create(file=stored(f"canaries {number}"), n_real=1, n_bogus=1)
    model = ScoringModel.objects.get(role="champion")
    CanaryResult.objects.create(
        model=model, canary_set=canaries, occasion="round", role="champion", cut=0.5, scores=[]
    )
    for image in ScienceImage.objects.all():
        ReferenceEpoch.objects.create(reference=reference, science_image=image, weight=1.0)


def stored(text: str) -> StoredFile:
    return put_bytes(
        text.encode(), kind=FileKind.REFERENCE, name=f"{text}.fits", media_type="application/fits"
    )


def test_every_table_of_ours_is_registered() -> None:
    missing = {m._meta.label for m in MODELS} - {m._meta.label for m in admin.site._registry}
    assert missing == set()


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m._meta.label)
def test_every_list_and_every_row_opens(
    browser_as: Callable[[str], Client], full_world: World, model: Any
) -> None:
    browser = browser_as("admin")
    name = f"admin:{model._meta.label_lower.replace('.', '_')}"
    assert browser.get(reverse(f"{name}_changelist")).status_code == 200
    row = model._default_manager.first()
    assert row is not None, "the world has no row to open"
    assert browser.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
    assert browser.get(reverse(f"{name}_changelist"), {"q": "x"}).status_code in {200, 302}
    refused = browser.get(reverse(f"{name}_changelist"), {"no_such_field": "1"})
    assert refused.status_code == 302  # with e=1: an unknown lookup is no crash


def count_queries(browser: Client, address: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert browser.get(address).status_code == 200
    return len(queries)


def test_more_rows_cost_no_more_queries(
    browser_as: Callable[[str], Client], full_world: World, people: dict[str, User]
) -> None:
    browser = browser_as("admin")
    names = [f"admin:{m._meta.label_lower.replace('.', '_')}_changelist" for m in MODELS]
    reference = ReferenceImage.objects.get(epochs_digest="0" * 64)
    inlines = [
        reverse("admin:differencing_referenceimage_change", args=[reference.pk]),
        reverse("admin:catalog_astroobject_change", args=[full_world.objects[0].pk]),
    ]
    addresses = [reverse(name) for name in names] + inlines
    before = {address: count_queries(browser, address) for address in addresses}
    rows_before = sum(m._default_manager.count() for m in MODELS)
    for number in (3, 4, 5):
        make_epoch(full_world, number, sources=[(60.0, 70.0, 4000.0)])
        fill(full_world, people, number)
    assert sum(m._default_manager.count() for m in MODELS) > rows_before + 40
    after = {address: count_queries(browser, address) for address in addresses}
    assert {a: (before[a], after[a]) for a in addresses if after[a] > before[a]} == {}
    assert max(after.values()) <= 20


def act(browser: Client, address: str, action: str, rows: list[Any], **more: str) -> list[str]:
    said = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
    response = browser.post(reverse(address), said)
    assert response.status_code in {200, 302}
    return [str(m) for m in get_messages(response.wsgi_request)]


LIST = "admin:detection_detection_changelist"


def test_many_candidates_get_a_verdict_at_once_and_it_is_on_record(
    browser_as: Callable[[str], Client], world: World, people: dict[str, User]
) -> None:
    told = act(browser_as("admin"), LIST, "mark_bogus", world.detections)
    assert told == ["3 verdicts: bogus."]
    assert Verdict.objects.filter(label="bogus", curator=people["admin"]).count() == 3
    bulk = AuditEntry.objects.get(action="verdict.bulk")
    assert bulk.actor == people["admin"]
    assert set(bulk.after["detections"]) == {str(d.pk) for d in world.detections}
    assert bulk.address == "127.0.0.1"
    assert AuditEntry.objects.filter(action="verdict.give").count() == 3
    world.objects[0].refresh_from_db()
    assert world.objects[0].state == "rejected"


def test_a_curator_who_is_let_into_the_admin_judges_and_a_viewer_does_not(
    browser_as: Callable[[str], Client], world: World, people: dict[str, User]
) -> None:
    User.objects.filter(username__in=["curator-person", "viewer-person"]).update(is_staff=True)
    viewer, curator = browser_as("viewer"), browser_as("curator")
    assert "mark_real" not in viewer.get(reverse(LIST)).content.decode()
    act(viewer, LIST, "mark_real", world.detections)
    assert Verdict.objects.count() == 0
    act(curator, LIST, "mark_real", world.detections[:1])
    assert Verdict.objects.get().curator == people["curator"]
    assert curator.get(reverse("admin:accounts_user_changelist")).status_code == 403
    assert curator.get(reverse("admin:core_auditentry_changelist")).status_code == 403


@pytest.mark.parametrize(
    ("action", "reason", "said"),
    [
        ("mark_bogus", "wing", "bogus, wing of a bright star"),
        ("mark_variable", "", "variable star or AGN"),
        ("mark_moving", "", "minor planet"),
    ],
)
def test_classes_and_reasons_are_given_to_many_as_in_vet(
    browser_as: Callable[[str], Client], world: World, action: str, reason: str, said: str
) -> None:
    browser = browser_as("admin")
    page = browser.get(reverse(LIST)).content.decode()
    for label in set(Verdict.Label.values) - {"withdrawn"}:
        assert f'value="mark_{label}"' in page
    for name in filter(None, Verdict.Reason.values):
        assert f'<option value="{name}">' in page
    assert act(browser, LIST, action, world.detections, reason=reason) == [f"3 verdicts: {said}."]
    label = action.removeprefix("mark_")
    given = Verdict.objects.values_list("label", "reason").distinct()
    assert list(given) == [(label, reason)]
    assert AuditEntry.objects.get(action="verdict.bulk").after["reason"] == reason


def test_a_reason_without_bogus_changes_nothing(
    browser_as: Callable[[str], Client], world: World
) -> None:
    told = act(browser_as("admin"), LIST, "mark_real", world.detections, reason="wing")
    assert told == ["Only a bogus candidate has a reason; nothing was changed."]
    assert not Verdict.objects.exists()


def test_the_admin_says_what_is_simulated(
    browser_as: Callable[[str], Client], world: World, people: dict[str, User]
) -> None:
    browser = browser_as("admin")
    notice = "Simulated sky:"
    real = Survey.objects.create(name="Real", slug="real")
    assert notice in browser.get(reverse("admin:index")).content.decode()
    assert world.survey.name in browser.get(reverse(LIST)).content.decode()
    for name, row, is_simulated in (
        ("observations_survey", world.survey, True),
        ("observations_survey", real, False),
        ("observations_observation", world.observations[0], True),
        ("detection_detection", world.detections[0], True),
        ("accounts_user", people["viewer"], False),
    ):
        page = browser.get(reverse(f"admin:{name}_change", args=[row.pk])).content.decode()
        assert (notice in page) is is_simulated, name


def test_the_page_of_the_rest_interface_says_what_is_simulated(
    browser_as: Callable[[str], Client], world: World
) -> None:
    page = browser_as("viewer").get(reverse("api:docs")).content.decode()
    assert world.survey.name in page
    Observation.objects.update(is_simulated=False)
    assert "Simulated sky" not in browser_as("viewer").get(reverse("api:docs")).content.decode()


def test_too_many_at_once_change_nothing(
    browser_as: Callable[[str], Client], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.admin.MAX_IN_BULK", 2)
    told = act(browser_as("admin"), LIST, "mark_real", world.detections)
    assert told == ["At most 2 candidates at once; nothing was changed."]
    assert Verdict.objects.count() == 0


def test_observations_are_stopped_or_run_again_and_it_is_on_record(
    browser_as: Callable[[str], Client], world: World
) -> None:
    browser = browser_as("admin")
    address = "admin:observations_observation_changelist"
    under_way = list(Observation.objects.filter(status__in=["running", "pending"]))
    assert act(browser, address, "cancel", under_way)[-1] == "2 of 2 observations stopped."
    assert set(Job.objects.values_list("state", flat=True)) == {"cancelled"}
    stopped = Observation.objects.filter(pk__in=[o.pk for o in under_way])
    assert set(stopped.values_list("status", flat=True)) == {"cancelled"}
    assert act(browser, address, "cancel", under_way)[-1] == "0 of 2 observations stopped."
    assert act(browser, address, "retry", under_way)[-1] == "2 of 2 observations run again."
    assert set(Job.objects.values_list("state", flat=True)) == {"queued"}
    told = act(browser, address, "retry", [world.observations[0]])
    assert told[-1] == "0 of 1 observations run again."
    assert "succeeded" in told[-2]
    assert AuditEntry.objects.filter(action__startswith="observation.").count() == 4


def test_keys_are_revoked_and_references_retired(
    browser_as: Callable[[str], Client], full_world: World
) -> None:
    browser = browser_as("admin")
    act(browser, "admin:accounts_apikey_changelist", "revoke", list(ApiKey.objects.all()))
    assert not ApiKey.objects.filter(revoked_at=None).exists()
    references = list(ReferenceImage.objects.all())
    act(browser, "admin:differencing_referenceimage_changelist", "retire", references)
    assert not ReferenceImage.objects.filter(is_active=True).exists()
    assert AuditEntry.objects.filter(action="reference.retired").count() == len(references)


def test_an_edit_is_on_record_with_what_it_was_before(
    browser_as: Callable[[str], Client], world: World
) -> None:
    browser = browser_as("admin")
    observation = world.observations[0]
    address = reverse("admin:observations_observation_change", args=[observation.pk])
    changed = browser.post(address, {"role": "template", "target": "field 0", "status": "failed"})
    assert changed.status_code == 302
    observation.refresh_from_db()
    assert (observation.role, observation.status) == ("template", "succeeded")
    entry = AuditEntry.objects.get(action="observation.changed")
    assert (entry.before, entry.after) == ({"role": "auto"}, {"role": "template"})


def test_a_new_account_is_on_record_without_its_password(
    browser_as: Callable[[str], Client], people: dict[str, User]
) -> None:
    said = {
        "username": "made-in-admin",
        "usable_password": "true",
        "password1": "a long enough phrase 1",
        "password2": "a long enough phrase 1",
    }
    made = browser_as("admin").post(reverse("admin:accounts_user_add"), said)
    assert made.status_code == 302
    entry = AuditEntry.objects.get(action="user.added")
    assert entry.after["username"] == "made-in-admin"
    assert "a long enough phrase" not in str(entry.after)


def test_what_only_the_program_writes_cannot_be_edited_or_deleted(
    browser_as: Callable[[str], Client], full_world: World
) -> None:
    browser = browser_as("admin")
    for model in MODELS:
        name = f"admin:{model._meta.label_lower.replace('.', '_')}"
        row = model._default_manager.first()
        deleted = browser.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"})
        assert deleted.status_code == 403, model
        if model not in {Observation, Survey, User, Camera, CalibrationMaster, ReferenceCatalog}:
            assert browser.get(reverse(f"{name}_add")).status_code == 403, model
            assert browser.post(reverse(f"{name}_change", args=[row.pk])).status_code == 403, model
