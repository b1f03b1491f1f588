"""The event log: a reader that asks for everything after N misses nothing."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from astrid_site.core import events
from astrid_site.core.models import Event

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_event_has_no_number_until_it_is_published() -> None:
    subject = uuid.uuid4()
    events.publish("object.changed", subject_id=subject, payload={"state": "confirmed"})
    assert events.read_after(0) == []
    assert events.assign_sequences() == 1
    (event,) = events.read_after(0)
    assert (event.sequence, event.kind, event.subject_id) == (1, "object.changed", subject)
    assert event.payload == {"state": "confirmed"}
    assert events.latest_sequence() == 1


def test_an_event_rolled_back_with_its_transaction_is_never_seen() -> None:
    with transaction.atomic():
        events.publish("verdict.given")
        transaction.set_rollback(True)
    assert events.assign_sequences() == 0


def test_numbers_go_on_without_gaps_and_reading_is_paged() -> None:
    for _ in range(5):
        events.publish("verdict.given")
    assert events.assign_sequences() == 5
    events.publish("verdict.given")
    assert events.assign_sequences() == 1
    assert [event.sequence for event in events.read_after(2, limit=3)] == [3, 4, 5]
    assert events.assign_sequences() == 0


def test_two_publishers_at_once_give_each_number_once() -> None:
    for _ in range(60):
        events.publish("verdict.given")
    gate = threading.Barrier(4)

    def publish() -> None:
        gate.wait(timeout=10)
        events.assign_sequences()
        connections.close_all()

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert [event.sequence for event in events.read_after(0)] == list(range(1, 61))


def test_a_row_that_becomes_visible_late_is_not_skipped() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: rows become visible in their order")
    began, may_end = threading.Event(), threading.Event()

    def slow_writer() -> None:
        with transaction.atomic():
            events.publish("slow")
            began.set()
            may_end.wait(timeout=10)
        connections.close_all()

    thread = threading.Thread(target=slow_writer)
    thread.start()
    assert began.wait(timeout=10)
    events.publish("quick")  # a higher id, committed first
    events.assign_sequences()
    first = events.read_after(0)
    may_end.set()
    thread.join(timeout=10)
    events.assign_sequences()
    second = events.read_after(first[-1].sequence or 0)
    assert [event.kind for event in first] == ["quick"]
    assert [event.kind for event in second] == ["slow"]


def test_old_events_are_forgotten_but_their_numbers_are_not_given_again() -> None:
    for _ in range(3):
        Event.objects.create(kind="verdict.given", created_at=timezone.now() - timedelta(days=40))
    events.assign_sequences()
    assert events.forget(older_than=timedelta(days=30)) == 2
    assert events.oldest_sequence() == 3
    events.publish("verdict.given")
    events.assign_sequences()
    assert events.latest_sequence() == 4
