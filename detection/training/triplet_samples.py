"""Labelled triplets, and the joining and choosing of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TripletSamples:
    """Triplets with their truth; rows of all arrays belong together.

    Attributes
    ----------
    triplets : NDArray[float32], shape (n, 63, 63, 3)
        Science, template, difference; NaN where a pixel is missing.
    is_real : NDArray[bool], shape (n,)
        Whether something in the sky changed there.
    kind : NDArray[str], shape (n,)
        What it is: "transient", "asteroid", "variable", "agn", "dipole", "cosmic ray" and so on.
    group : NDArray[str], shape (n,)
        Sky and night, or object: rows of one group never lie in two splits.
    survey : NDArray[str], shape (n,)
        Where it comes from.
    snr : NDArray[float64], shape (n,)
        Significance in the difference [sigma]; NaN where unknown.
    """

    triplets: NDArray[np.float32]
    is_real: NDArray[np.bool_]
    kind: NDArray[np.str_]
    group: NDArray[np.str_]
    survey: NDArray[np.str_]
    snr: NDArray[np.float64]

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            msg = f"rows do not belong together: {lengths}"
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.is_real)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> TripletSamples:
        """The samples at rows."""
        return TripletSamples(*(getattr(self, field.name)[rows] for field in fields(self)))

    def save(self, path: Path) -> None:
        """Write as compressed NPZ without objects."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        # an open file keeps the name as it is: NumPy would add a suffix
        with path.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> TripletSamples:
        """Read what ``save`` wrote; objects are refused."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(*(stored[field.name] for field in fields(cls)))


def join_samples(parts: Sequence[TripletSamples]) -> TripletSamples:
    """All samples of several parts in order."""
    return TripletSamples(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(TripletSamples))
    )
