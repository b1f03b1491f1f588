"""kill -9 at random: every job still ends exactly once, and no result exists twice."""

from __future__ import annotations

import random
import time

import pytest

from tests import servers
from tests.reliability.conftest import Installer
from tests.reliability.installation import Installation
from tests.reliability.storm_jobs import STAGES, STEP_S, STEPS

SUBJECTS = 20
JOBS = SUBJECTS * len(STAGES)
KILLS = 10
PATIENCE_S = 120.0

pytestmark = pytest.mark.slow


def tokens(installation: Installation) -> set[str]:
    """The claims that stand at the moment, those of the dead among them."""
    rows = installation.rows("SELECT token FROM core_job WHERE state = 'running'")
    return {str(token) for (token,) in rows}


def wait_for_work(installation: Installation, *, old: set[str]) -> None:
    """Wait for a new claim, so that the next kill hits work and not a start-up."""

    def is_working() -> bool:
        is_over = installation.states() == {"done": JOBS}
        return is_over or bool(tokens(installation) - old)

    servers.wait_until(is_working, within_s=40, what="a worker takes up work again")


def storm(installation: Installation, *, scopes: list[str], seed: int) -> list[str]:
    """Kill ten times at random moments; returns what was killed."""
    generator = random.Random(seed)
    killed: list[str] = []
    old: set[str] = set()
    for number in range(KILLS):
        wait_for_work(installation, old=old)
        time.sleep(generator.uniform(0.05, 0.6))
        # on a slow machine the job may have ended meanwhile: hit the next one inside its steps
        wait_for_work(installation, old=tokens(installation))
        time.sleep(generator.uniform(0.0, 0.5 * STEPS * STEP_S))
        scope = scopes[number % len(scopes)]
        if scope == "child" and not installation.kill_child("worker"):
            scope = "group"
        if scope == "group":
            installation.kill_group("worker")
        old = tokens(installation)
        killed.append(scope)
    return killed


def assert_each_ended_once(installation: Installation) -> None:
    """All jobs done, one result per job, one end per job."""
    installation.wait_for_states({"done": JOBS}, within_s=PATIENCE_S)
    events = installation.rows("SELECT kind, subject_id, payload FROM core_event")
    results = [row[1:] for row in events if row[0] == "storm.result"]
    ends = [row for row in events if row[0] == "job.done"]
    assert len(results) == JOBS
    assert len({(str(subject), str(payload)) for subject, payload in results}) == JOBS
    assert len(ends) == JOBS
    assert not [row for row in events if row[0] in {"storm.lost", "job.failed"}]


def assert_signs_of_life(installation: Installation) -> None:
    """The health pages can see the worker and the sweeper."""
    kinds = {kind for (kind,) in installation.rows("SELECT kind FROM core_heartbeat")}
    assert kinds == {"worker", "sweeper"}


def executions(installation: Installation) -> int:
    """How often jobs were started; more than there are jobs when kills hit work."""
    return int(installation.rows("SELECT sum(attempts) FROM core_job")[0][0])


def test_ten_kills_on_the_embedded_broker_lose_and_double_nothing(install: Installer) -> None:
    installation = install()
    installation.start_worker("worker", pool="solo")
    installation.start_sweeper()
    installation.command("-m", "tests.reliability.submit", STAGES[0], str(SUBJECTS))
    killed = storm(installation, scopes=["group"], seed=11)
    assert killed == ["group"] * KILLS
    assert_each_ended_once(installation)
    assert_signs_of_life(installation)
    assert executions(installation) >= JOBS + KILLS // 2


@pytest.mark.needs_redis
@pytest.mark.needs_postgres
def test_ten_kills_of_worker_and_child_on_redis_lose_and_double_nothing(
    install: Installer,
) -> None:
    with servers.postgres() as database_url, servers.redis() as redis:
        installation = install(DATABASE_URL=database_url, ASTRID_BROKER_URL=redis.url)
        installation.start_worker("worker", pool="prefork")
        installation.start_sweeper()
        installation.command("-m", "tests.reliability.submit", STAGES[0], str(SUBJECTS))
        killed = storm(installation, scopes=["group", "child"], seed=12)
        assert killed.count("group") >= KILLS // 2
        assert_each_ended_once(installation)
        assert_signs_of_life(installation)
        assert executions(installation) >= JOBS + KILLS // 2
        installation.stop()


@pytest.mark.needs_redis
def test_killing_redis_without_persistence_loses_and_doubles_nothing(install: Installer) -> None:
    generator = random.Random(13)
    with servers.redis() as redis:
        installation = install(ASTRID_BROKER_URL=redis.url)
        installation.start_worker("worker", pool="prefork")
        installation.start_sweeper()
        installation.command("-m", "tests.reliability.submit", STAGES[0], str(SUBJECTS))
        for _ in range(4):
            wait_for_work(installation, old=set())
            time.sleep(generator.uniform(0.05, 0.6))
            redis.kill()
            time.sleep(generator.uniform(0.1, 0.8))
            redis.start()
        assert_each_ended_once(installation)
        installation.stop()


def test_a_job_that_kills_its_worker_fails_and_the_others_end(install: Installer) -> None:
    installation = install(ASTRID_JOB_MAX_CRASHES="2")
    installation.start_worker("worker", pool="solo")
    installation.start_sweeper()
    installation.command("-m", "tests.reliability.submit", "poison", "1")
    installation.command("-m", "tests.reliability.submit", STAGES[-1], "3")
    installation.wait_for_states({"failed": 1, "done": 3}, within_s=PATIENCE_S)
    rows = installation.rows("SELECT trouble, cause FROM core_job WHERE state = 'failed'")
    assert [trouble for trouble, _ in rows] == ["worker_died"]
    assert rows[0][1].startswith("the process that worked on it died 2 times. ")
    assert len(installation.rows("SELECT id FROM core_event WHERE kind = 'storm.lost'")) == 1
