"""What a contestant made of a scene, in numbers; it knows the truth and no contestant's code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.engine.scene import SATURATED_PIX, Truth
from benchmarks.engine.transients import Transients

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

MATCH_PIX = 2.5
NEAR_TRUTH_PIX = 4.0
_STAR_PIX = 4
_LEAST_BLANK = 2000
#: From here on no source is lost to the threshold, so recovered fluxes carry no selection.
_FLUX_SNR = (7.0, 50.0)
_SCATTER_SNR = (7.0, 20.0)


@dataclass(frozen=True)
class Product:
    """What a contestant handed back, on the science grid.

    Attributes
    ----------
    x, y : NDArray[float64], shape (n,)
        Its own list of candidates [pix], 0-based.
    flux : NDArray[float64] or None
        Their fluxes [adu of the science frame].
    difference : NDArray[float32] or None
        Science minus reference.
    variance, score : NDArray[float32] or None
        What it says of the noise, and its significance map.
    valid : NDArray[bool]
        Pixels it does not mask itself.
    is_white : bool
        Whether it removes the correlation that the match puts into the noise.
    """

    x: Float64
    y: Float64
    flux: Float64 | None
    difference: Float32 | None
    variance: Float32 | None
    score: Float32 | None
    valid: Bool
    is_white: bool


Scores = dict[str, float | int | None]


def score_product(product: Product, truth: Truth) -> Scores:
    """Every figure of one contestant on one scene; None where it gives nothing to measure."""
    scores = count_found(product, truth) | count_false(product, truth)
    scores |= measure_flux(product, truth.transients)
    if product.score is not None:
        scores |= measure_significance(product.score, truth.transients)
    if product.difference is not None:
        scores |= measure_blank_sky(product, truth) | measure_stars(product, truth)
    return scores


def count_found(product: Product, truth: Truth) -> Scores:
    """Transients in the candidate list, for each S/N: ``found_5`` of ``true_5``."""
    matched = match_transients(product, truth.transients)[0]
    scores: Scores = {}
    for snr in np.unique(truth.transients.snr):
        here = (truth.transients.snr == snr) & truth.transients.usable
        scores[f"found_{snr:g}"] = int(matched[here].sum())
        scores[f"true_{snr:g}"] = int(here.sum())
    return scores


def match_transients(product: Product, transients: Transients) -> tuple[Bool, NDArray[np.int64]]:
    """Whether each transient is in the list, and which entry is nearest."""
    if len(product.x) == 0 or len(transients.x) == 0:
        n = len(transients.x)
        return np.zeros(n, dtype=bool), np.zeros(n, dtype=np.int64)
    tree = cKDTree(np.column_stack([product.x, product.y]))
    away, index = tree.query(np.column_stack([transients.x, transients.y]))
    return np.asarray(away <= MATCH_PIX), np.asarray(index, dtype=np.int64)


def measure_significance(score: Float32, transients: Transients) -> Scores:
    """How much of the ideal significance the score image holds at transients of S/N 10 to 20.

    The ideal is that of a score: flux over the noise without the source. The highest of the nine
    pixels around the true place is taken, to which noise adds little at these S/N.
    """
    use = np.flatnonzero(transients.usable & (transients.snr >= 10.0) & (transients.snr <= 20.0))
    if len(use) == 0:
        return {}
    offset = np.arange(-1, 2)
    row = np.rint(transients.y[use]).astype(int)[:, None] + offset
    column = np.rint(transients.x[use]).astype(int)[:, None] + offset
    highest = score[row[:, :, None], column[:, None, :]].max(axis=(1, 2))
    ideal = transients.flux[use] / transients.sigma_still[use]
    return {"significance": float(np.median(highest / ideal))}


def count_false(product: Product, truth: Truth) -> Scores:
    """Candidates where nothing is new, outside and inside the zone left out of the judgement."""
    ny, nx = truth.excluded.shape
    false = np.ones(len(product.x), dtype=bool)
    if len(product.x) and len(truth.transients.x):
        tree = cKDTree(np.column_stack([truth.transients.x, truth.transients.y]))
        away, _ = tree.query(np.column_stack([product.x, product.y]))
        false = away > NEAR_TRUTH_PIX
    column = np.clip(np.rint(product.x[false]).astype(int), 0, nx - 1)
    row = np.clip(np.rint(product.y[false]).astype(int), 0, ny - 1)
    judged = ~truth.excluded[row, column]
    clear = truth.saturated_pix[row, column] > SATURATED_PIX
    bright = np.ones(len(product.x), dtype=bool) if product.flux is None else product.flux > 0
    return {
        "n_candidates": len(product.x),
        "false_brighter": int((judged & bright[false]).sum()),
        "false": int(judged.sum()),
        "false_away": int((judged & clear).sum()),
        "false_excluded": int((~judged).sum()),
        "mpix": float((~truth.excluded).sum()) / 1e6,
    }


def measure_blank_sky(product: Product, truth: Truth) -> Scores:
    """Widths of the pulls and correlation of neighbours where there is nothing.

    ``pull_width`` is of the pixels over the contestant's own errors, ``score_width`` of its
    significance map, ``lag1`` the larger of both axes' correlations.
    """
    difference = _difference_of(product)
    blank = truth.blank & product.valid & np.isfinite(difference)
    n_blank = int(blank.sum())
    scores: Scores = {"n_blank": n_blank}
    if n_blank < _LEAST_BLANK:
        return scores
    scores["lag1"] = max((lag1(difference, blank, axis) for axis in (0, 1)), key=abs)
    if product.variance is not None:
        usable = blank & (product.variance > 0)
        scores["pull_width"] = width(difference[usable] / np.sqrt(product.variance[usable]))
    if product.score is not None:
        scores["score_width"] = width(product.score[blank])
    return scores


def _difference_of(product: Product) -> Float32:
    """The difference, which not everyone hands back."""
    if product.difference is None:
        msg = "product: no difference image"
        raise ValueError(msg)
    return product.difference


def lag1(difference: Float32, blank: Bool, axis: int) -> float:
    """Correlation of neighbouring blank pixels along an axis, values clipped at 4 widths."""
    first, second = [slice(None)] * 2, [slice(None)] * 2
    first[axis], second[axis] = slice(None, -1), slice(1, None)
    both = blank[tuple(first)] & blank[tuple(second)]
    a = difference[tuple(first)][both].astype(np.float64)
    b = difference[tuple(second)][both].astype(np.float64)
    middle, limit = np.median(a), 4.0 * width(a)
    a, b = (np.clip(v - middle, -limit, limit) for v in (a, b))
    return float(np.corrcoef(a, b)[0, 1])


def measure_stars(product: Product, truth: Truth) -> Scores:
    """Mean squared pull within 4 pixels of bright unsaturated stars.

    The variance is the true one of this kind of difference, whose one free factor is set by
    blank sky, so that no contestant is helped by errors it overstates; ``chi2_own`` uses its own.
    """
    variance = truth.variance_white if product.is_white else truth.variance_plain
    difference = _difference_of(product)
    blank = truth.blank & product.valid & np.isfinite(difference)
    if blank.sum() < _LEAST_BLANK or len(truth.star_x) == 0:
        return {"n_stars": 0}
    factor = width(difference[blank] / np.sqrt(variance[blank])) ** 2
    true = _star_chi2(difference, variance * np.float32(factor), product.valid, truth)
    scores: Scores = {"n_stars": len(true)}
    if len(true):
        scores |= {"chi2": float(np.median(true)), "chi2_p90": float(np.percentile(true, 90))}
        # standard errors of a median and of a 90th percentile of n normal values
        spread = width(true) / np.sqrt(len(true))
        scores |= {"chi2_error": 1.253 * spread, "chi2_p90_error": 1.71 * spread}
    if product.variance is not None:
        own = _star_chi2(difference, product.variance, product.valid, truth)
        if len(own):
            scores["chi2_own"] = float(np.median(own))
            scores["chi2_own_p90"] = float(np.percentile(own, 90))
    return scores


def _star_chi2(difference: Float32, variance: Float32, valid: Bool, truth: Truth) -> Float64:
    """One number for each star of which the contestant masks no more than a tenth."""
    offset = np.arange(-_STAR_PIX, _STAR_PIX + 1)
    dy, dx = np.meshgrid(offset, offset, indexing="ij")
    disc = dx**2 + dy**2 <= _STAR_PIX**2
    row = np.rint(truth.star_y).astype(int)[:, None] + dy[disc]
    column = np.rint(truth.star_x).astype(int)[:, None] + dx[disc]
    good = valid[row, column] & (variance[row, column] > 0)
    squares = np.where(
        good, difference[row, column] ** 2 / np.where(good, variance[row, column], 1.0), 0.0
    )
    count = good.sum(axis=1)
    enough = count >= 0.9 * disc.sum()
    return np.asarray(squares[enough].sum(axis=1) / count[enough], dtype=np.float64)


def measure_flux(product: Product, transients: Transients) -> Scores:
    """Bias and scatter of the fluxes of recovered transients.

    ``bias`` is the slope of measured against true flux less one, weighted by the ideal errors;
    ``scatter`` the width of (measured / (1 + bias) - true) in units of the ideal error, which
    holds the source's own photons. Outliers beyond 5 ideal errors are counted, not averaged.
    """
    if product.flux is None:
        return {}
    matched, index = match_transients(product, transients)
    bright = (transients.snr >= _FLUX_SNR[0]) & (transients.snr <= _FLUX_SNR[1])
    use = matched & transients.usable & bright
    measured = product.flux[index[use]] if len(product.flux) else np.zeros(0)
    true, sigma, snr = transients.flux[use], transients.sigma[use], transients.snr[use]
    if len(true) < 5:
        return {"n_flux": len(true)}
    ratio = float(np.median(measured / true))
    calm = np.abs(measured - ratio * true) < 5.0 * sigma
    weight = calm / sigma**2
    total = float(np.sum(weight * true**2))
    bias = float(np.sum(weight * true * measured)) / total - 1.0
    faint = snr <= _SCATTER_SNR[1]
    pulls = (measured[faint] / (1.0 + bias) - true[faint]) / sigma[faint]
    return {
        "n_flux": len(true),
        "n_flux_outliers": int((~calm).sum()),
        "bias": bias,
        "bias_error": total**-0.5,
        "scatter": width(pulls),
        # the half of the central 68 % of n normal values scatters by 0.93 / sqrt(n) of itself
        "scatter_error": 0.93 * width(pulls) / np.sqrt(max(int(faint.sum()), 1)),
    }


def width(values: NDArray[np.floating]) -> float:
    """Half of the central 68 %."""
    low, high = np.percentile(values, [15.866, 84.134])
    return float((high - low) / 2.0)
