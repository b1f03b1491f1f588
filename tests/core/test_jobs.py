"""The ledger: every job ends exactly once, whatever happens to workers, messages and clocks."""

from __future__ import annotations

import errno
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction

from astrid_site.core import jobs
from astrid_site.core.errors import LeaseLostError, NotYetError, TransientError
from astrid_site.core.jobs import JobContext, NextJob, Outcome, ledger
from astrid_site.core.models import Event, Job
from astrid_site.core.status import JobState
from tests.core import job_handlers

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ledger_settings"),
]


def new_job(kind: str = "simple", **extra: Any) -> Job:
    return jobs.submit(NextJob(kind, uuid.uuid4(), "v1", **extra))


def fresh(job: Job) -> Job:
    return Job.objects.get(id=job.id)


def results(job: Job) -> int:
    return Event.objects.filter(kind="test.result", subject_id=job.subject_id).count()


def states(job: Job) -> list[str]:
    rows = Event.objects.filter(kind__startswith="job.", subject_id=job.subject_id).order_by("id")
    return [row.kind.removeprefix("job.") for row in rows]


def expire(job: Job) -> None:
    Job.objects.filter(id=job.id).update(lease_until=ledger.db_time(-1))


def together(count: int, work: Callable[[int], None]) -> None:
    """Run the work in threads that start at one moment, each with its own connection."""
    gate = threading.Barrier(count)
    troubles: list[Exception] = []

    def one(number: int) -> None:
        try:
            gate.wait(timeout=10)
            work(number)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            troubles.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert troubles == []


def test_a_job_runs_once_and_its_result_is_saved_with_it() -> None:
    job = new_job()
    jobs.run(job.id)
    ended = fresh(job)
    assert ended.state == JobState.DONE
    assert ended.progress == 1.0
    assert ended.finished_at is not None
    assert ended.token is None
    assert ended.lease_until is None
    assert results(job) == 1
    assert states(job) == ["queued", "running", "done"]


def test_a_message_delivered_twice_changes_nothing() -> None:
    job = new_job()
    jobs.run(job.id)
    jobs.run(job.id)
    assert results(job) == 1
    assert fresh(job).attempts == 1


def test_a_message_for_a_job_that_does_not_exist_changes_nothing() -> None:
    jobs.run(uuid.uuid4())
    assert Job.objects.count() == 0


def test_of_workers_that_claim_at_the_same_moment_one_wins() -> None:
    job = new_job()
    claims: list[jobs.Claim | None] = []
    together(8, lambda number: claims.append(ledger.claim(job.id, worker=f"w{number}")))
    assert len(claims) == 8
    assert sum(claim is not None for claim in claims) == 1
    assert fresh(job).attempts == 1


def test_submissions_at_the_same_moment_give_one_row() -> None:
    name = NextJob("simple", uuid.uuid4(), "v1")
    ids: list[uuid.UUID] = []
    together(8, lambda _: ids.append(jobs.submit(name).id))
    assert len(ids) == 8
    assert len(set(ids)) == 1
    assert Job.objects.count() == 1


def test_a_submission_that_is_rolled_back_leaves_no_job_and_no_message(
    bell: list[tuple[str, str]],
) -> None:
    with transaction.atomic():
        new_job()
        transaction.set_rollback(True)
    assert Job.objects.count() == 0
    assert bell == []


def test_an_ended_job_is_revived_only_when_asked_to() -> None:
    job = new_job()
    jobs.run(job.id)
    again = NextJob(job.kind, job.subject_id, job.config_version)
    assert jobs.submit(again).state == JobState.DONE
    revived = jobs.submit(again, revive=True)
    assert revived.id == job.id
    assert revived.state == JobState.QUEUED
    assert revived.attempts == 0


def test_a_running_job_is_not_revived() -> None:
    job = new_job()
    claim = ledger.claim(job.id, worker="w")
    assert claim is not None
    jobs.submit(NextJob(job.kind, job.subject_id, job.config_version), revive=True)
    assert fresh(job).token == claim.token


def test_the_next_stage_is_written_with_the_end_of_the_one_before() -> None:
    job = new_job("first")
    jobs.run(job.id)
    following = Job.objects.get(kind="second", subject_id=job.subject_id)
    assert following.state == JobState.QUEUED


def test_a_trouble_while_saving_leaves_neither_end_nor_product_nor_next_stage() -> None:
    job = new_job()
    claim = ledger.claim(job.id, worker="w")
    assert claim is not None

    def save() -> list[NextJob]:
        job_handlers.events.publish("test.result", subject_id=job.subject_id)
        jobs.submit(NextJob("second", job.subject_id, "v1"))
        raise TransientError("the archive is away")

    with pytest.raises(TransientError):
        ledger.finish(claim, Outcome(JobState.DONE, save=save))
    assert fresh(job).state == JobState.RUNNING
    assert results(job) == 0
    assert Job.objects.count() == 1


def test_an_expired_lease_returns_the_job_to_the_queue() -> None:
    job = new_job()
    ledger.claim(job.id, worker="w")
    assert jobs.sweep().requeued == 0
    expire(job)
    assert jobs.sweep().requeued == 1
    assert fresh(job).state == JobState.QUEUED
    assert fresh(job).cause == "worker lost once"
    jobs.run(job.id)
    assert fresh(job).state == JobState.DONE
    assert results(job) == 1


def test_two_sweepers_at_once_return_a_job_once() -> None:
    waiting = [new_job() for _ in range(5)]
    for job in waiting:
        ledger.claim(job.id, worker="w")
        expire(job)
    reports: list[jobs.SweepReport] = []
    together(3, lambda _: reports.append(jobs.sweep()))
    assert sum(report.requeued for report in reports) == 5
    assert Event.objects.filter(kind="job.queued").count() == 10


def test_a_worker_that_lost_its_lease_can_write_nothing() -> None:
    job = new_job()
    zombie = ledger.claim(job.id, worker="zombie")
    assert zombie is not None
    expire(job)
    jobs.sweep()
    heir = ledger.claim(job.id, worker="heir")
    assert heir is not None
    saved: list[str] = []

    def save() -> list[NextJob]:
        saved.append("zombie")
        return []

    with pytest.raises(LeaseLostError):
        ledger.finish(zombie, Outcome(JobState.DONE, save=save))
    with pytest.raises(LeaseLostError):
        ledger.report(zombie, progress=0.5, message="still here")
    assert not ledger.renew(zombie)
    assert saved == []
    assert ledger.renew(heir)
    assert fresh(job).state == JobState.RUNNING


def test_the_lease_is_kept_while_the_handler_works(ledger_settings: Any) -> None:
    ledger_settings.JOB_LEASE_S = 1.0
    job = new_job()
    returned: list[int] = []

    def work(context: JobContext) -> None:
        # Three times the lease, without a word of progress.
        for _ in range(6):
            time.sleep(0.5)
            returned.append(jobs.sweep().requeued)
            context.check()

    job_handlers.on("simple", work)
    jobs.run(job.id)
    assert returned == [0] * 6
    assert fresh(job).state == JobState.DONE
    assert fresh(job).attempts == 1


def test_a_worker_paused_past_its_lease_stops_when_it_wakes(ledger_settings: Any) -> None:
    ledger_settings.JOB_LEASE_S = 0.4
    job = new_job()
    seen: list[bool] = []

    def work(context: JobContext) -> None:
        # What another worker and the sweeper do while this one is frozen.
        Job.objects.filter(id=job.id).update(token=uuid.uuid4())
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            time.sleep(0.05)
            context.check()
        seen.append(True)

    job_handlers.on("simple", work)
    jobs.run(job.id)
    assert seen == []
    assert results(job) == 0
    assert fresh(job).state == JobState.RUNNING


def test_a_job_that_kills_its_worker_ends_failed_at_the_cap(ledger_settings: Any) -> None:
    ledger_settings.JOB_MAX_ATTEMPTS = 3
    poison, good = new_job(), new_job()
    for _ in range(3):
        assert ledger.claim(poison.id, worker="w") is not None
        expire(poison)
        jobs.sweep()
    assert fresh(poison).state == JobState.FAILED
    assert fresh(poison).cause == "worker lost 3 times"
    assert [poison.id] == job_handlers.LOST
    assert ledger.claim(poison.id, worker="w") is None
    jobs.run(good.id)
    assert fresh(good).state == JobState.DONE


def test_one_job_whose_loss_cannot_be_written_does_not_hold_up_the_others(
    ledger_settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger_settings.JOB_MAX_ATTEMPTS = 1
    first, second = new_job(), new_job()
    for job in (first, second):
        ledger.claim(job.id, worker="w")
        expire(job)

    def lost(job: Job) -> None:
        if job.id == first.id:
            raise RuntimeError

    monkeypatch.setattr(job_handlers, "lost", lost)
    assert jobs.sweep().failed == 1
    assert fresh(first).state == JobState.RUNNING
    assert fresh(second).state == JobState.FAILED
    assert str(first.id) in caplog.text


def test_a_job_whose_time_has_not_come_waits_without_losing_an_attempt() -> None:
    job = new_job()

    def not_yet(context: JobContext) -> None:
        reason = "waits for an earlier epoch"
        raise NotYetError(reason, retry_in_s=60)

    job_handlers.on("simple", not_yet)
    jobs.run(job.id)
    waiting = fresh(job)
    assert waiting.state == JobState.QUEUED
    assert waiting.attempts == 0
    assert waiting.cause == "waits for an earlier epoch"
    assert ledger.claim(job.id, worker="w") is None
    Job.objects.filter(id=job.id).update(next_at=ledger.db_time(-1))
    assert ledger.claim(job.id, worker="w") is not None


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (TransientError("the archive is away"), "the archive is away"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage full"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_a_passing_trouble_is_tried_again_up_to_the_cap(
    ledger_settings: Any, trouble: Exception, words: str
) -> None:
    ledger_settings.JOB_MAX_ATTEMPTS = 2
    job = new_job()

    def fail(context: JobContext) -> None:
        raise trouble

    job_handlers.on("simple", fail)
    jobs.run(job.id)
    assert fresh(job).state == JobState.QUEUED
    assert words in fresh(job).cause
    jobs.run(job.id)
    assert fresh(job).state == JobState.FAILED
    assert words in fresh(job).cause
    assert [job.id] == job_handlers.LOST


def test_the_wait_doubles_with_each_attempt(ledger_settings: Any) -> None:
    ledger_settings.JOB_BACKOFF_S = 2.0
    assert [ledger.back_off_s(attempts) for attempts in (1, 2, 3, 4)] == [2, 4, 8, 16]
    assert ledger.back_off_s(40) == 300


def test_a_defect_of_ours_ends_the_job_and_is_still_heard() -> None:
    job = new_job()

    def fail(context: JobContext) -> None:
        raise ZeroDivisionError

    job_handlers.on("simple", fail)
    with pytest.raises(ZeroDivisionError):
        jobs.run(job.id)
    assert fresh(job).state == JobState.FAILED
    assert "ZeroDivisionError" in fresh(job).cause
    assert [job.id] == job_handlers.LOST


def test_a_job_of_unknown_kind_fails_with_its_reason() -> None:
    job = new_job("unheard of")
    with pytest.raises(LookupError, match="unheard of"):
        jobs.run(job.id)
    assert fresh(job).state == JobState.FAILED


def test_data_that_defeat_the_method_end_failed_with_the_numbers() -> None:
    job = new_job("impossible")
    jobs.run(job.id)
    assert fresh(job).state == JobState.FAILED
    assert fresh(job).cause == "n_stars=3, n_required=5"
    assert job_handlers.LOST == []


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.CANCELLED])
def test_a_handler_cannot_end_in_a_state_that_is_not_its_to_give(state: JobState) -> None:
    with pytest.raises(ValueError, match="state"):
        Outcome(state)


def test_a_job_cancelled_while_it_runs_saves_nothing() -> None:
    job = new_job("first")

    def cancel(context: JobContext) -> None:
        assert jobs.cancel(fresh(job))

    job_handlers.on("simple", cancel)
    simple = new_job()
    job = simple
    jobs.run(simple.id)
    assert fresh(simple).state == JobState.CANCELLED
    assert results(simple) == 0
    assert states(simple)[-1] == "cancelled"


def test_a_cancelled_job_is_not_claimed_and_not_cancelled_twice() -> None:
    job = new_job()
    assert jobs.cancel(job)
    assert not jobs.cancel(job)
    jobs.run(job.id)
    assert job_handlers.CALLS == []


def test_only_an_ended_job_can_be_retried() -> None:
    job = new_job("impossible")
    assert not jobs.retry(job)
    jobs.run(job.id)
    assert jobs.retry(job)
    again = fresh(job)
    assert (again.state, again.attempts, again.cause) == (JobState.QUEUED, 0, "")


def test_progress_is_stored_announced_and_kept_between_nothing_and_all() -> None:
    job = new_job()
    seen: list[tuple[float, str]] = []

    def work(context: JobContext) -> None:
        context.progress(1.5, "x" * 400)
        context.progress(0.2, "too soon after the last to be stored")
        row = fresh(job)
        seen.append((row.progress, row.message))

    job_handlers.on("simple", work)
    jobs.run(job.id)
    assert seen == [(1.0, "x" * 300)]
    assert states(job).count("progress") == 1


def test_the_sweeper_rings_for_a_job_whose_message_was_never_sent(
    bell: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # Death between the commit and the bell: the hook never runs.
        patch.setattr(transaction, "on_commit", lambda *_, **__: None)
        job = new_job()
    assert bell == []
    assert jobs.sweep().rung == 1
    assert bell == [(str(job.id), "cpu")]


def test_a_message_that_was_lost_is_sent_again(
    bell: list[tuple[str, str]], ledger_settings: Any
) -> None:
    job = new_job()
    assert bell == [(str(job.id), "cpu")]
    assert jobs.sweep().rung == 0
    Job.objects.update(rung_at=ledger.db_time(-ledger_settings.JOB_RING_AGAIN_S - 1))
    assert jobs.sweep().rung == 1
    assert bell == [(str(job.id), "cpu")] * 2


def test_however_many_jobs_wait_few_are_rung_for_and_the_urgent_ones_first(
    bell: list[tuple[str, str]], ledger_settings: Any
) -> None:
    ledger_settings.JOB_RING_WINDOW = 4
    with transaction.atomic():
        for _ in range(20):
            new_job()
        urgent = new_job(priority=5)
    assert len(bell) == 4
    assert bell[0] == (str(urgent.id), "cpu")
    jobs.run(urgent.id)
    jobs.sweep()
    assert len(bell) == 5


def test_a_queue_without_workers_does_not_silence_the_others(
    bell: list[tuple[str, str]], ledger_settings: Any
) -> None:
    ledger_settings.JOB_RING_WINDOW = 1
    new_job(queue="gpu")
    new_job(queue="gpu")
    job = new_job(queue="cpu")
    assert bell[-1] == (str(job.id), "cpu")


def test_jobs_of_stopped_workers_are_handed_back_without_losing_an_attempt() -> None:
    job = new_job()
    ledger.claim(job.id, worker="w")
    assert jobs.release_running(count_attempt=False) == 1
    assert (fresh(job).state, fresh(job).attempts) == (JobState.QUEUED, 0)
    ledger.claim(job.id, worker="w")
    assert jobs.release_running(count_attempt=True) == 1
    assert (fresh(job).state, fresh(job).attempts) == (JobState.QUEUED, 1)


def test_a_worker_with_a_wrong_clock_neither_steals_nor_keeps_a_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = new_job()
    ledger.claim(job.id, worker="w")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 7200)
    assert jobs.sweep().requeued == 0
    expire(job)
    monkeypatch.setattr(time, "time", lambda: real() - 7200)
    assert jobs.sweep().requeued == 1
