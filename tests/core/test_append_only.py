"""What was decided and done stays on record: the database refuses to change it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from astrid_site.core import audit, events
from astrid_site.core.append_only import erasing
from astrid_site.core.models import AuditEntry, Event
from curation.models import Verdict
from curation.services import give_verdict, withdraw_verdict
from tests.catalog.factories import make_detection
from tests.observations.factories import make_user

pytestmark = pytest.mark.django_db

Change = Callable[[], object]


def make_records() -> None:
    detection, curator = make_detection(), make_user()
    give_verdict(detection, curator, label="real")
    withdraw_verdict(detection, curator)
    events.assign_sequences()


def refused(change: Change) -> None:
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        change()


@pytest.mark.parametrize(
    "change",
    [
        lambda: Verdict.objects.update(label="bogus"),
        lambda: Verdict.objects.update(comment="looks fine"),
        lambda: Verdict.objects.filter(label="withdrawn").update(curator=make_user()),
        lambda: Verdict.objects.all().delete(),
        lambda: AuditEntry.objects.update(actor=None),
        lambda: AuditEntry.objects.all().delete(),
        lambda: Event.objects.update(payload={}),
        lambda: Event.objects.update(created_at=timezone.now()),
        lambda: Event.objects.update(sequence=7),
    ],
    ids=lambda change: "-".join(change.__code__.co_names[:3]),
)
def test_no_record_is_changed_or_removed(change: Change) -> None:
    make_records()
    refused(change)
    assert list(Verdict.objects.order_by("sequence").values_list("label", flat=True)) == [
        "real",
        "withdrawn",
    ]


def test_no_statement_past_the_program_changes_a_verdict_either() -> None:
    make_records()
    for statement in (
        "UPDATE curation_verdict SET label = 'bogus'",
        "DELETE FROM curation_verdict",
        "DELETE FROM core_auditentry",
    ):
        refused(lambda statement=statement: connection.cursor().execute(statement))


def test_an_event_is_numbered_once_and_forgotten_only_after_it_was_published() -> None:
    events.publish("verdict.given")
    refused(lambda: Event.objects.all().delete())
    assert events.assign_sequences() == 1
    events.publish("verdict.given")
    events.assign_sequences()
    assert events.forget(older_than=timedelta(seconds=-1)) == 1


def test_erasing_is_possible_deliberately_and_stays_on_record_itself() -> None:
    make_records()
    person = make_user()
    with erasing(person, "the person asked for it"):
        Verdict.objects.update(comment="")
        Verdict.objects.all().delete()
    entry = AuditEntry.objects.get(action="records.erased")
    assert (entry.actor, entry.after) == (person, {"reason": "the person asked for it"})
    assert not Verdict.objects.exists()
    refused(lambda: AuditEntry.objects.all().delete())


def test_an_erasure_that_fails_erases_nothing_and_closes_the_door() -> None:
    make_records()

    def fail() -> None:
        with erasing(None, "a trial"):
            Verdict.objects.all().delete()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert Verdict.objects.count() == 2
    refused(lambda: Verdict.objects.all().delete())


def test_nobody_erases_without_a_reason() -> None:
    with pytest.raises(ValueError, match="reason"), erasing(None, " "):
        pass


@pytest.mark.django_db(transaction=True)
def test_the_protection_can_be_taken_back_and_put_on_again() -> None:
    audit.record(None, "trial", make_user())
    try:
        call_command("migrate", "curation", "0001", verbosity=0)
        call_command("migrate", "core", "0004", verbosity=0)
        assert AuditEntry.objects.all().delete()[0] == 1
    finally:
        call_command("migrate", verbosity=0)
    audit.record(None, "trial", make_user())
    refused(lambda: AuditEntry.objects.all().delete())
