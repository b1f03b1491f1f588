"""kill -9 while sixty frames go through the real pipeline: nothing is lost, nothing is doubled.

The frames, the ``ingest`` command, the stages, the workers and the servers are the real ones; the
result has to be the one of a run that nobody disturbed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import servers
from tests.reliability import frame_survey
from tests.reliability.frame_survey import FRAMES, SUBTRACTED, Result
from tests.reliability.installation import Installation

KILLS = 10
REDIS_KILLS = 3
LEASE_S = 3
PATIENCE_S = 600.0
#: The clean-up leaves a folder alone that was only just made.
YOUNG_S = 6.0
#: Many jobs of other stages may come between two that read a raw frame.
READER_PATIENCE_S = 60.0
Kills = Sequence[Callable[[], str]]
SURVEY = "Simulated"
MAKE_SURVEY = f"""
from observations.services import get_or_create_survey
settings = dict(is_simulated=True, reference_min_epochs={frame_survey.TEMPLATES})
get_or_create_survey("{SURVEY}", **settings)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]


def make_installation(folder: Path, **environment: str) -> Installation:
    """An installation with the real stages, and leases so short that a storm is soon over."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    installation = Installation(
        folder,
        {
            "ASTRID_BROKER_URL": "filesystem://",
            "ASTRID_JOB_LEASE_S": str(LEASE_S),
            "ASTRID_JOB_BACKOFF_S": "0.1",
            "ASTRID_JOB_RING_AGAIN_S": "3",
            # what recurs hangs on the clock, and two runs are compared job by job
            "ASTRID_STANDING_JOBS": "tests.reliability.storm_jobs.begin_nothing",
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(temporary),
            **environment,
        },
    )
    installation.command("manage.py", "migrate", "--verbosity", "0")
    installation.command("manage.py", "shell", "-c", MAKE_SURVEY)
    return installation


def ingest(installation: Installation, frames: Path) -> None:
    """Take the frames in as a user does."""
    arguments = ("manage.py", "ingest", str(frames), "--survey", SURVEY)
    installation.command(*arguments, within_s=PATIENCE_S)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sixty frames."""
    folder = tmp_path_factory.mktemp("frames")
    frame_survey.write_frames(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What one process, which nobody kills, makes of the frames."""
    installation = make_installation(tmp_path_factory.mktemp("undisturbed"))
    ingest(installation, frames)
    installation.command("manage.py", "run_pipeline", within_s=PATIENCE_S)
    result = frame_survey.result_of(installation)
    ends = [(status, stage) for _, status, stage, _ in result.endings]
    assert ends.count(("succeeded", "photometry")) >= SUBTRACTED - 2
    assert ends.count(("skipped", "reference")) == FRAMES - SUBTRACTED
    assert sum(is_kept for _, _, is_kept, *_ in result.detections) > FRAMES
    return result


class Storm:
    """Kills at seeded random moments, spread over the whole of the work."""

    def __init__(self, installation: Installation, *, n_jobs: int, seed: int) -> None:
        self.installation = installation
        self.n_jobs = n_jobs
        self.generator = random.Random(seed)
        self.killed: list[str] = []
        self._old: set[str] = set()

    def rage(self, kills: Kills, *, between: tuple[float, float]) -> None:
        """Do every kill, in random order, when a random share of the jobs has ended."""
        marks = sorted(self.generator.uniform(*between) for _ in kills)
        order = self.generator.sample(list(kills), len(kills))
        for kill, mark in zip(order, marks, strict=True):
            self._wait_for(int(mark * self.n_jobs))
            time.sleep(self.generator.uniform(0.0, 1.5))
            self._old = self._claims()
            self.killed.append(kill())

    def group(self) -> str:
        """The worker with everything in its group."""
        self.installation.kill_group("worker")
        return "group"

    def child(self) -> str:
        """Only a process that the worker forked to do its jobs."""
        return "child" if self.installation.kill_child("worker") else self.group()

    def reader(self) -> str:
        """Only a process that reads a FITS file; the next to come if there is none now."""
        deadline = time.monotonic() + READER_PATIENCE_S
        while not self.installation.kill_reader("worker"):
            if time.monotonic() > deadline:
                return self.group()
            time.sleep(0.02)
        return "reader"

    def redis(self, server: servers.Redis) -> str:
        """The broker with all its messages."""
        server.kill()
        time.sleep(self.generator.uniform(0.1, 0.8))
        server.start()
        return "redis"

    def _wait_for(self, n_ended: int) -> None:
        """Wait for the work to get so far, and for a claim made since the last kill."""
        deadline = time.monotonic() + PATIENCE_S
        while self._n_ended() < n_ended or not self._claims() - self._old:
            assert time.monotonic() < deadline, self.installation.last_words()
            self.installation.revive()
            time.sleep(0.2)

    def _n_ended(self) -> int:
        states = self.installation.states()
        return sum(n for state, n in states.items() if state not in {"queued", "running"})

    def _claims(self) -> set[str]:
        rows = self.installation.rows("SELECT token FROM core_job WHERE state = 'running'")
        return {str(token) for (token,) in rows}


def work_in_storm(storm: Storm, frames: Path, *, first: Kills, then: Kills) -> None:
    """Take the frames in and work on them while the storm rages; then tidy up after it."""
    installation = storm.installation
    with ThreadPoolExecutor(1) as beside:
        taken = beside.submit(ingest, installation, frames)
        # raw frames are read only as long as some are new: readers have to be hit early
        storm.rage(first, between=(0.02, 0.45))
        storm.rage(then, between=(0.45, 0.9))
        taken.result()
    installation.wait_for_end(storm.n_jobs, within_s=PATIENCE_S)
    installation.stop()
    time.sleep(YOUNG_S)
    installation.command("manage.py", "sweep_jobs")
    installation.command("manage.py", "collect_garbage", "--older-than-hours", "0")


def assert_nothing_lost_or_doubled(
    installation: Installation, frames: Path, undisturbed: Result
) -> None:
    """The promise, part by part, and then as a whole."""
    frame_survey.assert_frames_ended_once(installation)
    frame_survey.assert_jobs_ended_once(installation)
    frame_survey.assert_candidates_once(installation)
    frame_survey.assert_objects_apart(installation)
    frame_survey.assert_light_curves_complete(installation, frames)
    frame_survey.assert_bytes_whole(installation)
    assert list((installation.folder / "tmp").glob("astrid-*")) == []
    assert list((installation.folder / "work").iterdir()) == []
    result = frame_survey.result_of(installation)
    assert result.endings == undisturbed.endings
    assert result.references == undisturbed.references
    assert result.detections == undisturbed.detections
    assert result == undisturbed


def test_ten_kills_on_the_embedded_broker_change_no_result(
    frames: Path, undisturbed: Result, tmp_path: Path
) -> None:
    installation = make_installation(tmp_path)
    storm = Storm(installation, n_jobs=sum(undisturbed.jobs.values()), seed=21)
    try:
        installation.start_sweeper()
        installation.start_worker("worker", pool="solo")
        first, then = [storm.reader] * 3 + [storm.group] * 3, [storm.group] * 4
        work_in_storm(storm, frames, first=first, then=then)
    finally:
        installation.stop()
    assert len(storm.killed) == KILLS
    assert storm.killed.count("reader") >= 2
    assert_nothing_lost_or_doubled(installation, frames, undisturbed)


@pytest.mark.needs_redis
@pytest.mark.needs_postgres
def test_ten_kills_and_three_of_redis_change_no_result_on_postgres(
    frames: Path, undisturbed: Result, tmp_path: Path
) -> None:
    with servers.postgres() as database_url, servers.redis() as redis:
        installation = make_installation(
            tmp_path, DATABASE_URL=database_url, ASTRID_BROKER_URL=redis.url
        )
        storm = Storm(installation, n_jobs=sum(undisturbed.jobs.values()), seed=22)
        first = [storm.group, storm.child, storm.reader, lambda: storm.redis(redis)] * 2
        then = [storm.group, storm.child] * 2 + [lambda: storm.redis(redis)]
        try:
            installation.start_sweeper()
            installation.start_worker("worker", pool="prefork")
            work_in_storm(storm, frames, first=first, then=then)
        finally:
            installation.stop()
        assert len(storm.killed) == KILLS + REDIS_KILLS
        assert storm.killed.count("child") >= 2
        assert_nothing_lost_or_doubled(installation, frames, undisturbed)
