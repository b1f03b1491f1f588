"""A whole AstrID of real processes whose parts a test may kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[2]


def descendants(pid: int, *, named: str = "") -> set[int]:
    """Every process below this one whose command line holds a word."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop()) - found
        waiting += children
        found |= children
    return {child for child in found if named in _command_line(child)}


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread or process that ended meanwhile
            found |= {int(word) for word in path.read_text().split()}
    return found


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


class Installation:
    """Workers and a sweeper over one database and one broker, in a folder of their own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.database_url = environment.get("DATABASE_URL", f"sqlite:///{folder}/astrid.sqlite3")
        self.environment = {
            **os.environ,
            "ASTRID_DATA_DIR": str(folder),
            "DATABASE_URL": self.database_url,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            **environment,
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}

    def command(self, *arguments: str, within_s: float = 120.0) -> None:
        """Run one Python command to its end."""
        done = subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=ROOT,
            env=self.environment,
            timeout=within_s,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"

    def start(self, name: str, *arguments: str) -> None:
        """Start a process group under a name."""
        self._commands[name] = [sys.executable, *arguments]
        self._launch(name)

    def start_worker(self, name: str, *, pool: str) -> None:
        """Start a Celery worker."""
        extra = ["--concurrency", "2"] if pool == "prefork" else []
        self.start(
            name,
            *("-m", "celery", "--app", "astrid_site", "worker", "--pool", pool, *extra),
            *("--queues", "cpu,gpu", "--hostname", f"{name}@%h", "--loglevel", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        )

    def start_sweeper(self) -> None:
        """Start the sweeper loop."""
        self.start("sweeper", "manage.py", "sweep_jobs", "--forever")

    def kill_group(self, name: str) -> None:
        """kill -9 the process and everything in its group, then start it again."""
        process = self._processes[name]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
        self._launch(name)

    def kill_child(self, name: str) -> bool:
        """kill -9 one child of a worker that lives on; False when it has none now."""
        return self._kill_one(_children(self._processes[name].pid))

    def kill_reader(self, name: str) -> bool:
        """kill -9 a process that reads a FITS file for a worker; False when none does now."""
        return self._kill_one(descendants(self._processes[name].pid, named="fits_reader_child"))

    def _kill_one(self, pids: set[int]) -> bool:
        for pid in sorted(pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def revive(self) -> int:
        """Start again what has died by itself; returns how many had."""
        dead = [name for name, process in self._processes.items() if process.poll() is not None]
        for name in dead:
            self._launch(name)
        return len(dead)

    def stop(self) -> None:
        """End everything; may be repeated."""
        for process in self._processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)
        self._processes.clear()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database as a stranger would, past the program under test."""
        if self.database_url.startswith("sqlite"):
            path = self.database_url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as link:
                return link.execute(query).fetchall()
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query).fetchall()

    def states(self) -> dict[str, int]:
        """Number of jobs in each state."""
        return dict(self.rows("SELECT state, count(*) FROM core_job GROUP BY state"))

    def wait_for_states(self, wanted: Mapping[str, int], *, within_s: float) -> None:
        """Wait until the jobs are in exactly these states, reviving what dies meanwhile."""
        deadline = time.monotonic() + within_s
        while (now := self.states()) != dict(wanted):
            if time.monotonic() > deadline:
                rows = self.rows(
                    "SELECT kind, state, attempts, cause, next_at, rung_at, lease_until"
                    " FROM core_job WHERE state IN ('queued', 'running') LIMIT 5"
                )
                msg = f"jobs are {now}, not {dict(wanted)}, after {within_s} s; first: {rows}"
                raise AssertionError(msg + self.last_words())
            self.revive()
            time.sleep(0.2)

    def wait_for_end(self, n_jobs: int, *, within_s: float) -> None:
        """Wait until that many jobs have all ended, however; revives what dies meanwhile."""
        deadline = time.monotonic() + within_s
        while True:
            now = self.states()
            if sum(now.values()) >= n_jobs and not now.keys() & {"queued", "running"}:
                return
            if time.monotonic() > deadline:
                msg = f"jobs are {now} after {within_s} s, {n_jobs} ended are wanted"
                raise AssertionError(msg + self.last_words())
            self.revive()
            time.sleep(0.3)

    def last_words(self) -> str:
        """The ends of the logs, for a failing test."""
        return "".join(
            f"\n--- {path.name}\n{path.read_text(errors='replace')[-1500:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    def _launch(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self._commands[name],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
