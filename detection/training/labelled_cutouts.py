"""Triplets with all that is known of each: where it comes from, what it is, who says so."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = Any


@dataclass(frozen=True)
class Sample:
    """What a manifest says of one triplet.

    Attributes
    ----------
    key : str
        Names it for ever: source and the source's own name, as ``verdict:<candidate>``.
    source : str
        ``verdict``, ``alert``, ``npz`` or ``simulated``.
    survey : str
        Whose pixels these are.
    is_real : bool
        Whether something in the sky changed there.
    kind : str
        What it is, as far as known.
    owner : str
        The object; empty where none is known.
    ra, dec : float or None
        ICRS [deg].
    night : str
        Survey and night, as ``ZTF 58451``; empty where the time is not known.
    group : str
        What the source itself says belongs together; empty where it does not.
    snr : float or None
        Significance [sigma].
    labelled_by, labelled_at : str
        Role, never a name, and time (ISO 8601, UTC) of the label; empty where not known.
    detail : mapping
        More provenance, as the source has it.
    """

    key: str
    source: str
    survey: str
    is_real: bool
    kind: str
    owner: str = ""
    ra: float | None = None
    dec: float | None = None
    night: str = ""
    group: str = ""
    snr: float | None = None
    labelled_by: str = ""
    labelled_at: str = ""
    detail: Mapping[str, Json] = field(default_factory=dict)

    def as_json(self) -> dict[str, Json]:
        """For the manifest; what is not known is null or empty."""
        return asdict(self)


@dataclass(frozen=True)
class LabelledCutouts:
    """Samples and, row by row, their triplets (n, 63, 63, 3) in calibrated units.

    ``unlabelled`` counts what a source offered without saying what it is, by the reason.
    """

    samples: list[Sample]
    triplets: NDArray[np.float32]
    unlabelled: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.samples) != len(self.triplets):
            msg = f"{len(self.samples)} samples for {len(self.triplets)} triplets"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.samples)


def cutout_digest(triplet: NDArray[np.float32]) -> str:
    """SHA-256 of a triplet's pixels: little-endian float32, row by row."""
    return hashlib.sha256(np.ascontiguousarray(triplet, dtype="<f4").tobytes()).hexdigest()


def join_cutouts(parts: Sequence[LabelledCutouts]) -> LabelledCutouts:
    """All of several sources, in the order of their keys."""
    samples = [sample for part in parts for sample in part.samples]
    order = sorted(range(len(samples)), key=lambda i: samples[i].key)
    triplets = [part.triplets for part in parts if len(part)]
    joined = np.concatenate(triplets) if triplets else np.empty((0, 63, 63, 3), np.float32)
    unlabelled: dict[str, int] = {}
    for part in parts:
        for reason, count in part.unlabelled.items():
            unlabelled[reason] = unlabelled.get(reason, 0) + count
    return LabelledCutouts([samples[i] for i in order], joined[order], unlabelled)
