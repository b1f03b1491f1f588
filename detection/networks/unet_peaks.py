"""From the U-Net's map of changes to candidates: those of a second detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from detection.algorithms.candidates import Candidates

FloatArray = NDArray[np.float32]
Values = NDArray[np.float64]

#: Least probability of a candidate in the pipeline: of those that pass the cuts as large a share is
#: real on simulated nights as of the classical detector's at 5 sigma.
PIPELINE_THRESHOLD = 0.97
#: The score peaks this near to where the network sees a change [pix].
_REACH = 2


@dataclass(frozen=True)
class SeenChanges:
    """Peaks of a map of changes, surest first.

    Attributes
    ----------
    candidates : Candidates
        As the classical detector gives them, at the score's peak beside each.
    probability : NDArray[float64], shape (n,)
        Of each.
    """

    candidates: Candidates
    probability: Values

    def __len__(self) -> int:
        return len(self.probability)


def find_changes(
    change: FloatArray, score: FloatArray, *, threshold: float, separation_pix: float
) -> SeenChanges:
    """Find the peaks of a map of probabilities.

    Parameters
    ----------
    change : NDArray[float32], shape (ny, nx)
        Probability that something changed at a pixel, from ``probability_maps``.
    score : NDArray[float32], shape (ny, nx)
        Score image of the same difference [sigma]; 0 or NaN where masked.
    threshold : float
        Least probability, above 0 and below 1.
    separation_pix : float
        Of two peaks nearer than this only the higher one counts; the difference's FWHM.

    Returns
    -------
    SeenChanges

    Raises
    ------
    ValueError
        If the threshold is no probability or the shapes differ.
    """
    if not 0.0 < threshold < 1.0:
        msg = f"threshold: need a probability between 0 and 1, got {threshold}"
        raise ValueError(msg)
    if change.shape != score.shape:
        msg = f"change, score: shapes differ: {change.shape}, {score.shape}"
        raise ValueError(msg)
    radius = max(2, round(separation_pix))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    highest = maximum_filter(change, footprint=np.hypot(x, y) <= separation_pix, mode="constant")
    rows, columns = np.nonzero((change >= threshold) & (change == highest))
    order = np.argsort(-change[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    probability = change[rows, columns].astype(np.float64)
    rows, columns = _beside(np.nan_to_num(score), rows, columns)
    strength = np.nan_to_num(score)[rows, columns].astype(np.float64)
    # two peaks of the map may share one of the score
    _, first = np.unique(rows * score.shape[1] + columns, return_index=True)
    kept = np.sort(first)
    return SeenChanges(
        Candidates(
            x=columns[kept].astype(np.float64),
            y=rows[kept].astype(np.float64),
            score=strength[kept],
            sign=np.where(strength[kept] < 0, -1, 1).astype(np.int64),
        ),
        probability[kept],
    )


def join_apart(first: Candidates, second: Candidates, *, separation_pix: float) -> Candidates:
    """All of the first, then those of the second that lie farther than this from each of them."""
    if len(first) and len(second):
        tree = cKDTree(np.column_stack([first.x, first.y]))
        distance, _ = tree.query(np.column_stack([second.x, second.y]))
        second = second.select(distance > separation_pix)
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return Candidates(*(np.concatenate(pair) for pair in pairs))


def _beside(
    score: FloatArray, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pixels of the largest |score| within two pixels of others."""
    ny, nx = score.shape
    offset = np.arange(-_REACH, _REACH + 1)
    near_rows = np.clip(rows[:, None, None] + offset[:, None], 0, ny - 1)
    near_columns = np.clip(columns[:, None, None] + offset, 0, nx - 1)
    size = np.abs(score[near_rows, near_columns]).reshape(len(rows), -1)
    row, column = np.divmod(size.argmax(axis=1), len(offset))
    return (
        np.clip(rows + offset[row], 0, ny - 1),
        np.clip(columns + offset[column], 0, nx - 1),
    )
