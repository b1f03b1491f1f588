"""Starts, watches and ends the processes of an embedded installation."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from astrid_site.core.processes import die_with_parent

STOP_PATIENCE_S = 7.0
LONGEST_WAIT_S = 30.0
STEADY_AFTER_S = 60.0
LOG_BYTES = 10 * 2**20
#: The count of a taken-in folder, as ``manage.py ingest`` writes it.
_SUMMARY = re.compile(r"^\d+ created, .*\d+ refused$", re.MULTILINE)
#: How that command ends when some files were refused and others were not.
_SOME_REFUSED = 1
Say = Callable[[str], None]


@dataclass
class _Child:
    """One process group: its leader, and when to start it again should it die."""

    name: str
    command: Sequence[str]
    is_service: bool
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    log_start: int = 0

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the leader and everything it started in its group."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return


class Supervisor:
    """Keeps a set of child processes alive, and leaves none behind."""

    def __init__(
        self,
        log_folder: Path,
        *,
        say: Say,
        environment: Mapping[str, str],
        mourn: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.log_folder = log_folder
        self._say = say
        self._mourn = mourn
        self._environment = dict(environment)
        self._children: list[_Child] = []

    def log_path(self, name: str) -> Path:
        """Where the output of a child goes."""
        return self.log_folder / f"{name}.log"

    def start(self, name: str, command: Sequence[str], *, is_service: bool = True) -> None:
        """Start a child; a service is started again whenever it ends, a task is not."""
        child = _Child(name, command, is_service)
        self._children.append(child)
        self._launch(child)

    def watch(self) -> None:
        """Notice the dead, once; start services again after a wait that doubles each time."""
        now = time.monotonic()
        for child in list(self._children):
            if child.process is not None and child.process.poll() is not None:
                self._bury(child, now)
            elif child.process is None and now >= child.start_at:
                self._launch(child)
            elif child.failures and now - child.started_at > STEADY_AFTER_S:
                child.failures = 0

    def has_ended(self, name: str) -> bool:
        """Whether a child of that name is not running now."""
        return not any(child.name == name and child.process for child in self._children)

    def stop(self) -> None:
        """End every process group: politely first, then for certain."""
        for child in self._children:
            child.signal_group(signal.SIGTERM)
        deadline = time.monotonic() + STOP_PATIENCE_S
        for child in self._children:
            if child.process is not None:
                _wait(child.process, until=deadline)
        for child in self._children:
            # Also where the leader has ended: it may have left something in its group.
            child.signal_group(signal.SIGKILL)
            if child.process is not None:
                child.process.wait(timeout=5)
        self._children.clear()

    def _launch(self, child: _Child) -> None:
        self.log_folder.mkdir(parents=True, exist_ok=True)
        path = self.log_path(child.name)
        if path.is_file() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            child.log_start = log.seek(0, os.SEEK_END)
            child.process = subprocess.Popen(
                child.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # a Ctrl-C at the terminal reaches only the launcher
                preexec_fn=die_with_parent,
            )
        child.started_at = time.monotonic()

    def _bury(self, child: _Child, now: float) -> None:
        code = child.process.returncode if child.process is not None else 0
        child.signal_group(signal.SIGKILL)
        if child.process is not None:
            self._mourn(child.process.pid)
        child.process = None
        if not child.is_service:
            self._children.remove(child)
            how = _task_end(code, self._summary(child))
            self._say(f"{child.name} {how}; see {self.log_path(child.name)}")
            return
        wait = min(2.0**child.failures, LONGEST_WAIT_S)
        child.failures += 1
        child.start_at = now + wait
        self._say(
            f"{child.name} ended ({_in_words(code)}) and starts again in {wait:.0f} s;"
            f" see {self.log_path(child.name)}"
        )

    def _summary(self, child: _Child) -> str:
        """The last count in what a child wrote; empty if it wrote none."""
        with self.log_path(child.name).open("rb") as log:
            log.seek(max(child.log_start, log.seek(0, os.SEEK_END) - LOG_BYTES))
            found = _SUMMARY.findall(log.read().decode(errors="replace"))
        return found[-1] if found else ""


def _task_end(code: int, summary: str) -> str:
    """How a task ended; one refused file among good ones is no failure of the whole."""
    told = f": {summary}" if summary else ""
    if code == 0 or (code == _SOME_REFUSED and summary):
        return f"has finished{told}"
    return f"failed (code {code}){told}"


def _wait(process: subprocess.Popen[bytes], *, until: float) -> None:
    try:
        process.wait(timeout=max(until - time.monotonic(), 0.01))
    except subprocess.TimeoutExpired:
        return


def _in_words(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"code {code}"
