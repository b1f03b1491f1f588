"""Run one job: claim it, keep its lease alive, call its handler, finish it."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.utils.module_loading import import_string

from astrid_site.core.errors import LeaseLostError, NotYetError
from astrid_site.core.jobs import ledger
from astrid_site.core.jobs.records import Claim, Handler
from astrid_site.core.reasons import PASSING, own_words, raw_text, trouble_of

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.5


class JobContext:
    """What a handler knows of its job, and how it tells how far it is."""

    def __init__(self, claim: Claim, lost: threading.Event) -> None:
        self.claim = claim
        self.job_id = claim.job_id
        self.kind = claim.kind
        self.subject_id = claim.subject_id
        self.token = claim.token
        self.attempt = claim.attempt
        self._lost = lost
        self._reported_at = -PROGRESS_EVERY_S

    def check(self) -> None:
        """Raise LeaseLostError when the job is no longer ours to do."""
        if self._lost.is_set():
            msg = f"{self.kind} {self.job_id}: the lease is gone"
            raise LeaseLostError(msg)

    def progress(self, fraction: float, message: str) -> None:
        """Tell people how far the job is (0 to 1); stored at most twice a second."""
        self.check()
        now = time.monotonic()
        if now - self._reported_at < PROGRESS_EVERY_S:
            return
        self._reported_at = now
        ledger.report(self.claim, progress=min(max(fraction, 0.0), 1.0), message=message)


class _LeaseKeeper(threading.Thread):
    """Renews the lease from its own thread and database connection while the handler works."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(name=f"lease-{claim.job_id}", daemon=True)
        self.claim = claim
        self.lost = threading.Event()
        self._ended = threading.Event()
        self._every_s = float(settings.JOB_LEASE_S) / 4

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self.join(timeout=30)

    def run(self) -> None:
        """Renew until told to stop, or until the job is not ours any more."""
        try:
            while not self._ended.wait(self._every_s):
                if not self._renew():
                    self.lost.set()
                    return
        finally:
            connections.close_all()

    def _renew(self) -> bool:
        try:
            return ledger.renew(self.claim)
        except DatabaseError as error:
            # The next beat may get through; if none does, the lease ends and the token fences.
            logger.warning("cannot renew the lease of %s: %s", self.claim.job_id, error)
            connections.close_all()
            return True


def worker_name(pid: int | None = None) -> str:
    """Host and process, as shown to people; this process unless another one is named."""
    return f"{socket.gethostname()}:{pid or os.getpid()}"


def run(job_id: UUID) -> None:
    """Do one job if it is still to be done; safe to call twice and from many processes."""
    claim = ledger.claim(job_id, worker=worker_name())
    if claim is None:
        return
    with _LeaseKeeper(claim) as keeper:
        try:
            _work(claim, JobContext(claim, keeper.lost))
        except LeaseLostError as error:
            logger.info("stopped: %s", error)


def _work(claim: Claim, context: JobContext) -> None:
    """Call the handler and write how it ended."""
    try:
        outcome = _handler(claim.kind)(context)
        context.check()
        ledger.finish(claim, outcome)
    except LeaseLostError:
        raise
    except NotYetError as error:
        ledger.postpone(claim, error.reason, retry_in_s=error.retry_in_s)
    except Exception as error:
        # A broken connection must not hide the trouble it belongs to.
        connection.close_if_unusable_or_obsolete()
        trouble = trouble_of(error)
        if trouble in PASSING:
            logger.warning("%s %s met a passing trouble: %s", claim.kind, claim.job_id, error)
            ledger.try_again(claim, trouble, raw=raw_text(error))
            return
        ledger.give_up(claim, trouble, said=own_words(error), raw=raw_text(error))
        raise


def _handler(kind: str) -> Handler:
    handlers: Mapping[str, Handler] = import_string(settings.JOB_HANDLERS)
    if kind not in handlers:
        msg = f"no handler does jobs of kind {kind!r}"
        raise LookupError(msg)
    return handlers[kind]
