"""What a pipeline stage is handed and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

JsonObject = Mapping[str, Any]


class Progress(Protocol):
    """Tells people how far a stage is; raises LeaseLostError when the work is no longer wanted."""

    def __call__(self, fraction: float, message: str) -> None: ...


def _save_nothing() -> None:
    return None


@dataclass(frozen=True)
class StageProduct:
    """The finished work of one stage, not yet in the database.

    Attributes
    ----------
    metrics : mapping
        Numbers people ask for; NaN is written as null.
    parameters : mapping
        Every parameter the algorithm used.
    inputs : mapping
        Name of each input -> sha256 of its bytes.
    save : callable
        Writes the stage's own rows; called once, inside the transaction that finishes the job.
    log : tuple of str
        Lines for the observation's log.
    """

    metrics: JsonObject
    parameters: JsonObject = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    save: Callable[[], None] = _save_nothing
    log: tuple[str, ...] = ()
