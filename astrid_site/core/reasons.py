"""Why the program itself could not do a job: a type, a plain sentence and a remedy for each.

What defeats a method (too few stars, a wrong WCS) is said by the science code; here is what can
happen to any step. The raw text of an error is for those who look after the program, not for them.
"""

from __future__ import annotations

import errno
import traceback

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError, models

from astrid_site.core.errors import ApplicationError, TransientError

MAX_RAW = 8000
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Trouble(models.TextChoices):
    """What stopped a job that the data did not."""

    OUTSIDE = "outside", "a service outside of AstrID does not answer"
    DATABASE = "database", "the database does not answer"
    MEMORY = "memory", "there is not enough memory for this step"
    STORAGE_FULL = "storage_full", "the storage is full"
    TIME = "time", "the step took longer than is allowed"
    REFUSED = "refused", "the step was refused"
    WORKER_DIED = "worker_died", "the process that worked on it died"
    DEFECT = "defect", "a defect of AstrID stopped this step"


_REMEDY = {
    Trouble.OUTSIDE: "Look whether object store and network work, then retry.",
    Trouble.DATABASE: "Look whether the database works, then retry.",
    Trouble.MEMORY: "Give the workers more memory or run fewer of them, then retry.",
    Trouble.STORAGE_FULL: "Make room where AstrID keeps its data, then retry.",
    Trouble.TIME: "Retry when the machine has less to do; very large frames may need to be cut.",
    Trouble.REFUSED: "Mend what it names, then retry.",
    Trouble.WORKER_DIED: "The frame may need more memory than there is: give the workers more, "
    "then retry; the workers' log says how they ended.",
    Trouble.DEFECT: "Retry once; if it happens again, report it with the detail of the job "
    "that the admin shows.",
}
#: Troubles that may be over the next time.
PASSING = frozenset(
    {Trouble.OUTSIDE, Trouble.DATABASE, Trouble.MEMORY, Trouble.STORAGE_FULL, Trouble.WORKER_DIED}
)


def trouble_of(error: Exception) -> Trouble:
    """The type of what a handler raised."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return Trouble.STORAGE_FULL
    kinds: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Trouble], ...] = (
        (TransientError, Trouble.OUTSIDE),
        (MemoryError, Trouble.MEMORY),
        ((OperationalError, InterfaceError), Trouble.DATABASE),
        (SoftTimeLimitExceeded, Trouble.TIME),
        (ApplicationError, Trouble.REFUSED),
    )
    return next((found for kind, found in kinds if isinstance(error, kind)), Trouble.DEFECT)


def raw_text(error: Exception) -> str:
    """All that is known of an error, for those who look after the program."""
    text = "".join(traceback.format_exception(error))
    # PostgreSQL keeps no NUL in a text
    return text.replace("\0", "")[-MAX_RAW:]


def words_while_waiting(trouble: Trouble, *, times: int) -> str:
    """What is said while the job waits for its next attempt."""
    counted = "" if times <= 1 else f" ({times} times so far)"
    return f"{trouble.label}{counted}; it is tried again by itself"


def words_at_the_end(trouble: Trouble, *, times: int, said: str = "") -> str:
    """What is said of a job that was given up; ``said`` are words of the program's own."""
    counted = "" if times <= 1 else f" {times} times"
    named = f": {said}" if said else ""
    return f"{trouble.label}{counted}{named}. {_REMEDY[trouble]}"


def own_words(error: Exception) -> str:
    """The message of an error that was written for people; empty for all others."""
    return str(error).rstrip(".") if isinstance(error, ApplicationError) else ""
