"""Errors that cross app borders."""

from __future__ import annotations


class ApplicationError(Exception):
    """The user asked for something that cannot be done; the message says why and what to do."""


class ConflictError(ApplicationError):
    """The request disagrees with what is stored (HTTP 409)."""


class TransientError(Exception):
    """The outside world is down for now; the job goes back to the queue and is tried later."""


class NotYetError(Exception):
    """The job waits for other work; it is asked again and no attempt is counted."""

    def __init__(self, reason: str, *, retry_in_s: float = 2.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_in_s = retry_in_s


class LeaseLostError(Exception):
    """Another worker owns the job now, or it was cancelled; stop working and write nothing."""
