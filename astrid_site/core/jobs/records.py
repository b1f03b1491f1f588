"""What the parts of the job ledger hand each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from astrid_site.core.status import TERMINAL_JOBS, JobState

if TYPE_CHECKING:
    from astrid_site.core.jobs.running import JobContext


@dataclass(frozen=True)
class NextJob:
    """A piece of work to be written down; (kind, subject, version) names it for ever."""

    kind: str
    subject_id: UUID
    config_version: str
    queue: str = "cpu"
    priority: int = 0
    not_before_s: float = 0.0


def _save_nothing() -> Sequence[NextJob]:
    return ()


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    ``save`` runs inside the transaction that finishes the job, after the fencing token
    matched; it writes the products and returns the jobs that follow from them. ``detail`` is raw
    text for those who look after the program.
    """

    state: JobState
    cause: str = ""
    detail: str = ""
    save: Callable[[], Sequence[NextJob]] = _save_nothing

    def __post_init__(self) -> None:
        if self.state not in TERMINAL_JOBS - {JobState.CANCELLED}:
            msg = f"state: a handler ends done, skipped or failed, got {self.state!r}"
            raise ValueError(msg)


@dataclass(frozen=True)
class Claim:
    """A job this process owns as long as the token is the one in the row."""

    job_id: UUID
    kind: str
    subject_id: UUID
    token: UUID
    attempt: int
    crashes: int = 0

    @property
    def errors(self) -> int:
        """How often the job will have failed by itself, should this attempt fail."""
        return self.attempt - self.crashes

    def row(self) -> dict[str, Any]:
        """Filter that matches the job's row only while the claim holds."""
        return {"id": self.job_id, "token": self.token, "state": JobState.RUNNING}


@dataclass(frozen=True)
class SweepReport:
    """What one sweep did."""

    requeued: int
    failed: int
    rung: int


Handler = Callable[["JobContext"], Outcome]
