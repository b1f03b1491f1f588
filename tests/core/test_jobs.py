"""The ledger: every job is written once, done once and ended once."""

from __future__ import annotations

import uuid

import pytest
from django.db import transaction

from astrid_site.core import jobs
from astrid_site.core.errors import TransientError
from astrid_site.core.jobs import JobContext, NextJob, Outcome, ledger
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from tests.core import job_handlers
from tests.core.ledger_view import fresh, new_job, results, states, together

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ledger_settings"),
]


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
