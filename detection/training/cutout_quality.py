"""Rules that a triplet must keep to be learnt from, each with its reason in words and a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from detection.networks.real_bogus_input import SIZE, normalise

Values = NDArray[np.float64]

PLANES = ("science", "template", "difference")
#: Below this share of the way from the darkest to the brightest a pixel is nearly black.
_NEAR_BLACK = 0.05
#: Percentiles that are brought to 0 and 1.
_LOW, _HIGH = 1.0, 99.5
_CENTRE = 11
_BATCH = 256


@dataclass(frozen=True)
class QualityRules:
    """Limits on each plane, as it is shown from 0 (black) to 1.

    Attributes
    ----------
    min_std : float
        Least standard deviation: a constant plane shows nothing.
    max_near_black : float
        Largest share of pixels that are missing or below 0.05: a void.
    max_centre_blank : float
        The same in the middle 11x11 pixels, where the candidate is.
    max_plane_range : float
        Largest difference across the best fitting plane, in standard deviations: a band or a
        gradient, not a sky. Over the pixels that are there.
    """

    min_std: float = 0.02
    max_near_black: float = 0.4
    max_centre_blank: float = 0.5
    max_plane_range: float = 2.0


def judge_cutouts(triplets: NDArray[np.float32], rules: QualityRules) -> list[list[str]]:
    """Reasons to leave triplets out; an empty list where there is none.

    Parameters
    ----------
    triplets : NDArray[float32], shape (n, 63, 63, 3)
        Science, template, difference in any units; NaN where missing.
    rules : QualityRules
        Limits. Science and difference must keep them; a template only where there is one.

    Returns
    -------
    list of list of str
        For each triplet, as ``science: near-black share 0.62 > 0.4``.

    Notes
    -----
    The planes are judged as people are shown them: in noise units on an asinh stretch, the 1st
    to the 99.5th percentile from 0 to 1. On a linear one every sky beside a bright star is nearly
    black, and just what is hard would be left out.
    """
    reasons: list[list[str]] = []
    for first in range(0, len(triplets), _BATCH):
        part = torch.from_numpy(np.ascontiguousarray(triplets[first : first + _BATCH]))
        reasons += [_judge(planes, rules) for planes in normalise(part).numpy()]
    return reasons


def _judge(planes: NDArray[np.float32], rules: QualityRules) -> list[str]:
    found = []
    for name, plane in zip(PLANES, planes, strict=True):
        if name == "template" and not np.isfinite(plane).any():
            continue
        found += [f"{name}: {reason}" for reason in _broken(measure_plane(plane), rules)]
    return found


def measure_plane(plane: NDArray[np.float32]) -> dict[str, float]:
    """What the rules look at in one normalised plane (63, 63); all 0 or 1 where it is empty.

    Returns
    -------
    dict
        ``std``, ``near_black``, ``centre_blank`` and ``plane_range`` (in standard deviations).
    """
    present = np.isfinite(plane)
    if not present.any():
        return {"std": 0.0, "near_black": 1.0, "centre_blank": 1.0, "plane_range": 0.0}
    shown = _shown(plane, present)
    black = shown < _NEAR_BLACK
    edge = (SIZE - _CENTRE) // 2
    std = float(shown[present].std())
    return {
        "std": std,
        "near_black": float(black.mean()),
        "centre_blank": float(black[edge:-edge, edge:-edge].mean()),
        "plane_range": _plane_range(shown, present) / std if std > 0 else 0.0,
    }


def _shown(plane: NDArray[np.float32], present: NDArray[np.bool_]) -> Values:
    """From 0 to 1; missing pixels are black."""
    low, high = np.percentile(plane[present], [_LOW, _HIGH])
    scale = high - low if high > low else 1.0
    shown = np.where(present, (plane - low) / scale, 0.0)
    return np.asarray(np.clip(shown, 0.0, 1.0), dtype=np.float64)


def _plane_range(shown: Values, present: NDArray[np.bool_]) -> float:
    """Range over the pixels that are there of the plane fitted to them."""
    rows, columns = np.nonzero(present)
    terms = np.column_stack([np.ones(len(rows)), rows, columns])
    found, *_ = np.linalg.lstsq(terms, shown[present], rcond=None)
    return float(np.ptp(terms @ found))


def _broken(measured: Mapping[str, float], rules: QualityRules) -> list[str]:
    limits = (
        ("std", "standard deviation", "<", rules.min_std),
        ("near_black", "near-black share", ">", rules.max_near_black),
        ("centre_blank", "blank share of the middle", ">", rules.max_centre_blank),
        ("plane_range", "gradient in standard deviations", ">", rules.max_plane_range),
    )
    return [
        f"{words} {measured[name]:.2f} {relation} {limit:g}"
        for name, words, relation, limit in limits
        if (measured[name] < limit if relation == "<" else measured[name] > limit)
    ]
