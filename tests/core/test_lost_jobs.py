"""The ledger when workers, messages and clocks fail: nothing is lost and nothing is doubled."""

from __future__ import annotations

import errno
import time
import uuid
from typing import Any

import pytest
from django.db import OperationalError, transaction

from astrid_site.core import jobs, tasking
from astrid_site.core.errors import (
    ApplicationError,
    LeaseLostError,
    NotYetError,
    TransientError,
)
from astrid_site.core.jobs import JobContext, NextJob, Outcome, ledger
from astrid_site.core.models import Event, Job
from astrid_site.core.reasons import Trouble
from astrid_site.core.status import JobState
from tests.core import job_handlers
from tests.core.ledger_view import expire, fresh, new_job, results, together

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ledger_settings"),
]


def test_an_expired_lease_returns_the_job_to_the_queue() -> None:
    job = new_job()
    ledger.claim(job.id, worker="w")
    assert jobs.sweep().requeued == 0
    expire(job)
    assert jobs.sweep().requeued == 1
    assert fresh(job).state == JobState.QUEUED
    words = "the process that worked on it died; it is tried again by itself"
    assert (fresh(job).cause, fresh(job).trouble) == (words, Trouble.WORKER_DIED)
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
    ledger_settings.JOB_MAX_CRASHES = 3
    poison, good = new_job(), new_job()
    for _ in range(3):
        assert ledger.claim(poison.id, worker="w") is not None
        expire(poison)
        jobs.sweep()
    assert fresh(poison).state == JobState.FAILED
    assert fresh(poison).cause.startswith("the process that worked on it died 3 times. ")
    assert "more memory" in fresh(poison).cause
    assert [poison.id] == job_handlers.LOST
    assert ledger.claim(poison.id, worker="w") is None
    jobs.run(good.id)
    assert fresh(good).state == JobState.DONE


def test_deaths_of_workers_do_not_use_up_the_attempts_of_a_job(ledger_settings: Any) -> None:
    ledger_settings.JOB_MAX_ATTEMPTS = 2
    job = new_job()
    for _ in range(10):
        assert ledger.claim(job.id, worker="w") is not None
        expire(job)
        jobs.sweep()
    troubles = [TransientError("the archive is away")]

    def fail_once(context: JobContext) -> None:
        if troubles:
            raise troubles.pop()

    job_handlers.on("simple", fail_once)
    jobs.run(job.id)
    assert (fresh(job).state, fresh(job).trouble) == (JobState.QUEUED, Trouble.OUTSIDE)
    jobs.run(job.id)
    ended = fresh(job)
    assert (ended.state, ended.attempts, ended.crashes) == (JobState.DONE, 12, 10)
    assert jobs.retry(job)
    assert (fresh(job).attempts, fresh(job).crashes) == (0, 0)


def test_errors_use_up_the_attempts_however_often_workers_died_between(
    ledger_settings: Any,
) -> None:
    ledger_settings.JOB_MAX_ATTEMPTS = 2
    job = new_job()

    def fail(context: JobContext) -> None:
        raise MemoryError

    job_handlers.on("simple", fail)
    for _ in range(2):
        assert ledger.claim(job.id, worker="w") is not None
        expire(job)
        jobs.sweep()
        jobs.run(job.id)
    ended = fresh(job)
    assert (ended.state, ended.trouble, ended.crashes) == (JobState.FAILED, Trouble.MEMORY, 2)
    assert ended.cause.startswith("there is not enough memory for this step 2 times. Give")


def test_one_job_whose_loss_cannot_be_written_does_not_hold_up_the_others(
    ledger_settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger_settings.JOB_MAX_CRASHES = 1
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
        (TransientError("HTTPSConnectionPool(host='s3')"), Trouble.OUTSIDE),
        (OSError(errno.ENOSPC, "No space left on device"), Trouble.STORAGE_FULL),
        (MemoryError(), Trouble.MEMORY),
        (OperationalError("could not connect to server"), Trouble.DATABASE),
    ],
)
def test_a_passing_trouble_is_tried_again_up_to_the_cap(
    ledger_settings: Any, trouble: Exception, words: Trouble
) -> None:
    ledger_settings.JOB_MAX_ATTEMPTS = 2
    job = new_job()

    def fail(context: JobContext) -> None:
        raise trouble

    job_handlers.on("simple", fail)
    jobs.run(job.id)
    assert fresh(job).state == JobState.QUEUED
    assert fresh(job).cause == f"{words.label}; it is tried again by itself"
    jobs.run(job.id)
    ended = fresh(job)
    assert (ended.state, ended.trouble) == (JobState.FAILED, words)
    assert ended.cause.startswith(f"{words.label} 2 times. ")
    # the raw text is kept apart, for those who look after the program
    assert type(trouble).__name__ in ended.detail
    assert str(trouble) not in ended.cause or not str(trouble)
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
    assert fresh(job).trouble == Trouble.DEFECT
    assert fresh(job).cause.startswith("a defect of AstrID stopped this step. Retry once; ")
    assert "ZeroDivisionError" in fresh(job).detail
    assert "test_lost_jobs.py" in fresh(job).detail
    assert [job.id] == job_handlers.LOST


def test_a_refusal_in_words_of_our_own_is_told_with_them() -> None:
    job = new_job()

    def fail(context: JobContext) -> None:
        msg = "frame.fits: the stored bytes 0123456789 are gone"
        raise ApplicationError(msg)

    job_handlers.on("simple", fail)
    with pytest.raises(ApplicationError):
        jobs.run(job.id)
    assert fresh(job).trouble == Trouble.REFUSED
    assert "frame.fits: the stored bytes 0123456789 are gone. Mend" in fresh(job).cause


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
    assert jobs.release_running() == 1
    assert (fresh(job).state, fresh(job).attempts) == (JobState.QUEUED, 0)


def test_jobs_of_workers_that_died_with_their_launcher_come_back_as_crashed() -> None:
    waiting = [new_job(), new_job()]
    for number, job in enumerate(waiting):
        ledger.claim(job.id, worker=f"w{number}")
    assert jobs.expire_leases() == 2
    assert jobs.sweep().requeued == 2
    assert [fresh(job).crashes for job in waiting] == [1, 1]


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


def test_a_job_nobody_could_be_told_of_is_rung_for_again_soon(
    bell: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tasking, "_silent_until", time.monotonic() + 60)
        job = new_job()
        assert jobs.sweep().rung == 0
    assert bell == []
    assert jobs.sweep().rung == 1
    assert bell == [(str(job.id), "cpu")]


def test_the_leases_of_a_worker_known_to_be_dead_end_at_once_and_no_others() -> None:
    of_the_dead, of_the_living = new_job(), new_job()
    ledger.claim(of_the_dead.id, worker=jobs.worker_name(1234))
    ledger.claim(of_the_living.id, worker=jobs.worker_name())
    assert jobs.expire_leases(worker=jobs.worker_name(1234)) == 1
    assert jobs.sweep().requeued == 1
    assert fresh(of_the_dead).state == JobState.QUEUED
    assert fresh(of_the_living).state == JobState.RUNNING
