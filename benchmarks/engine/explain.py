"""Which transients were lost and what was false, one line each with what lies around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.scene import Truth
from benchmarks.engine.scoring import NEAR_TRUTH_PIX, Product, match_transients

Float64 = NDArray[np.float64]
_LEAST_SNR = 6.5
_THRESHOLD = 5.0


def explain(product: Product, truth: Truth) -> list[str]:
    """Lines for usable transients of S/N above 6.5 that are not in the list, and false candidates.

    The highest score within 2 pixels tells whether the score image lost a transient (below 5) or
    what comes after it: peak selection and cuts.
    """
    return [_tally(product, truth), *_lost(product, truth), *_false(product, truth)]


def _tally(product: Product, truth: Truth) -> str:
    """For each S/N how many were lost by the score, and how many after it."""
    transients = truth.transients
    matched = match_transients(product, transients)[0]
    parts = []
    for snr in np.unique(transients.snr):
        lost = np.flatnonzero(transients.usable & ~matched & (transients.snr == snr))
        scores = [_highest(product, float(transients.x[i]), float(transients.y[i])) for i in lost]
        low = sum(score < _THRESHOLD for score in scores)
        parts.append(f"{snr:g}: {low} + {len(lost) - low}")
    return "  lost by the score + after it, for each S/N: " + ", ".join(parts)


def _lost(product: Product, truth: Truth) -> list[str]:
    transients = truth.transients
    matched = match_transients(product, transients)[0]
    lines = []
    for i in np.flatnonzero(transients.usable & ~matched & (transients.snr > _LEAST_SNR)):
        x, y = float(transients.x[i]), float(transients.y[i])
        score = _highest(product, x, y)
        where = "on a galaxy" if transients.on_galaxy[i] else "in the open"
        by = "by the score" if score < _THRESHOLD else "after the score"
        lines.append(
            f"  lost {by}: S/N {transients.snr[i]:g} at ({x:.1f}, {y:.1f}) {where}, score "
            f"{score:.1f}, flux {transients.flux[i]:.0f}; {_around(product, truth, x, y)}"
        )
    return lines


def _false(product: Product, truth: Truth) -> list[str]:
    lines = []
    for x, y in zip(product.x, product.y, strict=True):
        near = np.hypot(truth.transients.x - x, truth.transients.y - y)
        if (near <= NEAR_TRUTH_PIX).any():
            continue
        judged = "" if not truth.excluded[round(y), round(x)] else " (not judged)"
        lines.append(
            f"  false{judged}: ({x:.1f}, {y:.1f}), score {_highest(product, x, y):.1f}; "
            f"{_around(product, truth, float(x), float(y))}"
        )
    return lines


def _highest(product: Product, x: float, y: float) -> float:
    """The score of largest size within 2 pixels, with its sign."""
    if product.score is None:
        return float("nan")
    box = product.score[
        max(round(y) - 2, 0) : round(y) + 3, max(round(x) - 2, 0) : round(x) + 3
    ].ravel()
    return float(box[np.abs(box).argmax()])


def _around(product: Product, truth: Truth, x: float, y: float) -> str:
    ny, nx = truth.excluded.shape
    row, column = min(max(round(y), 0), ny - 1), min(max(round(x), 0), nx - 1)
    star = ""
    if len(truth.star_x):
        away = np.hypot(truth.star_x - x, truth.star_y - y)
        near = int(away.argmin())
        star = f", star of S/N {truth.star_snr[near]:.0f} {away[near]:.1f} pixels off"
    masked = "" if product.valid[row, column] else ", masked by the contestant"
    return f"saturated {truth.saturated_pix[row, column]:.0f} pixels off{star}{masked}"
