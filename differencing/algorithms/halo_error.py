"""What an imperfect kernel leaves around very bright stars, measured on the stars themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from differencing.algorithms.score import row_batches
from differencing.algorithms.subtraction import Stars
from differencing.algorithms.tiles import Filtered

Float64 = NDArray[np.float64]
FloatArray = NDArray[np.float32]

#: Edges of the rings around a star [pix]; inside the first the terms of the score itself rule.
_EDGES = (3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 16.0, 20.0)
#: A star's halo is measured from this significance of its light on.
_MIN_SNR = 500.0
_MIN_STARS = 5
_MAX_STARS = 60
#: In a field with fewer clean stars than this the bright sources are galaxies, whose own light
#: fills the rings.
_MANY_STARS = 20
#: Least excess, in units of the noise's variance, that is worth a change.
_LEAST_EXCESS = 0.1


@dataclass(frozen=True)
class HaloError:
    """Error of the subtraction around stars, as a share of their light.

    Attributes
    ----------
    share : NDArray[float64], shape (n_rings,)
        Root mean square of the matched-filter signal left in each ring over the star's own.
    n_stars : int
        Stars it was measured on.
    """

    share: Float64
    n_stars: int


def measure_halo_error(filtered: Filtered, stars: Stars) -> HaloError:
    """Measure the excess scatter in rings around the brightest stars.

    Parameters
    ----------
    filtered : Filtered
        Signal and its propagated variance.
    stars : Stars
        Sources of the science image; all bright ones count, clean or not.

    Returns
    -------
    HaloError
        All zero where fewer than 5 sources are bright enough, or fewer than 20 are clean stars.

    Notes
    -----
    A kernel fitted to noisy pixels errs by a share of the light it moves, and moves a star's
    light as far as it reaches: a ten-thousandth of a star of S/N 10^5 is a candidate of 10 sigma
    at ten pixels' distance, where the star's own light no longer tells of it. The median over
    stars of each ring's mean square keeps neighbours that vary from counting.
    """
    x, y, snr = _bright(filtered, stars)
    if len(x) < _MIN_STARS or int(stars.is_star.sum()) < _MANY_STARS:
        return HaloError(np.zeros(len(_EDGES) - 1), len(x))
    order = np.argsort(-snr, kind="stable")[:_MAX_STARS]
    shares = np.array([_ring_shares(filtered, int(x[i]), int(y[i])) for i in order])
    excess = np.nanmedian(np.where(np.isfinite(shares).any(axis=0), shares, 0.0), axis=0)
    return HaloError(np.sqrt(np.maximum(excess, 0.0)), len(order))


def add_halo_error(filtered: Filtered, stars: Stars, error: HaloError) -> Filtered:
    """Add the error of the halos of all bright stars to both variances, in place.

    Those whose middle is masked, or beyond an edge, have halos too: what was subtracted there
    tells of them.
    """
    seen, hidden = _bright(filtered, stars), _hidden(filtered)
    x, y = np.concatenate([seen[0], hidden[0]]), np.concatenate([seen[1], hidden[1]])
    if not error.share.any() or len(x) == 0:
        return filtered
    reach = int(_EDGES[-1])
    profile = np.append(np.square(error.share), 0.0)[_ring_numbers(reach)].astype(np.float32)
    ny, nx = filtered.psf.shape
    norm = float(np.square(filtered.psf.at((nx - 1) / 2, (ny - 1) / 2)[0]).sum())
    light = np.square(filtered.static_signal[y, x])
    for rows in row_batches(len(filtered.signal)):
        near = (y >= rows.start - reach) & (y < rows.stop + reach)
        if near.any():
            variance = filtered.signal_variance[rows]
            extra = np.zeros_like(variance)
            for column, row, power in zip(x[near], y[near] - rows.start, light[near], strict=True):
                box, part = _boxes(extra.shape, int(column), int(row), reach=reach)
                extra[box] += power * profile[part]
            extra[extra <= np.float32(_LEAST_EXCESS) * variance] = 0.0
            variance += extra
            filtered.variance[rows] += extra / np.float32(norm)
    return filtered


def _bright(
    filtered: Filtered, stars: Stars
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float64]:
    """Pixels and significance of the sources bright enough to have a halo."""
    ny, nx = filtered.signal.shape
    x, y = np.rint(stars.x).astype(np.int64), np.rint(stars.y).astype(np.int64)
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    x, y = x[inside], y[inside]
    snr = (filtered.static_signal[y, x] / _typical_noise(filtered)).astype(np.float64)
    keep = (snr > _MIN_SNR) & ~filtered.bad[y, x]
    return x[keep], y[keep], snr[keep]


def _hidden(filtered: Filtered) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Peaks as bright of what was subtracted, on pixels without a difference."""
    light, least = filtered.static_signal, np.float32(_MIN_SNR) * _typical_noise(filtered)
    y, x = np.nonzero(filtered.bad & (light > least))
    ny, nx = light.shape
    inside = (x > 0) & (x < nx - 1) & (y > 0) & (y < ny - 1)
    y, x = y[inside], x[inside]
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            is_peak = light[y, x] >= light[y + dy, x + dx]
            y, x = y[is_peak], x[is_peak]
    return x, y


def _typical_noise(filtered: Filtered) -> np.float32:
    """Noise of the signal; one pixel in sixteen tells it of a frame."""
    return np.float32(max(np.sqrt(np.median(filtered.signal_variance[::4, ::4])), 1e-30))


def _ring_shares(filtered: Filtered, x: int, y: int) -> Float64:
    """Excess mean square of each ring over the star's squared signal; NaN without pixels."""
    reach = int(_EDGES[-1])
    box, part = _boxes(filtered.signal.shape, x, y, reach=reach)
    rings = _ring_numbers(reach)[part]
    good = ~filtered.bad[box]
    excess = np.square(filtered.signal[box]) - filtered.signal_variance[box]
    light = float(filtered.static_signal[y, x]) ** 2
    n_rings = len(_EDGES) - 1
    inside = good & (rings < n_rings)
    count = np.bincount(rings[inside], minlength=n_rings)[:n_rings]
    total = np.bincount(rings[inside], weights=excess[inside], minlength=n_rings)[:n_rings]
    return np.where(count > 0, total / np.maximum(count, 1) / light, np.nan)


def _ring_numbers(reach: int) -> NDArray[np.int64]:
    """Ring of each pixel of a box; the last number is outside of all."""
    offset = np.arange(-reach, reach + 1)
    radius = np.hypot(offset[:, None], offset[None, :])
    number = np.digitize(radius, _EDGES) - 1
    number[number < 0] = len(_EDGES) - 1
    return np.asarray(number, dtype=np.int64)


def _boxes(
    shape: tuple[int, ...], x: int, y: int, *, reach: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """A box around a pixel cut to the frame, and the matching part of the full box."""
    ny, nx = shape
    top, left = max(0, y - reach), max(0, x - reach)
    bottom, right = min(ny, y + reach + 1), min(nx, x + reach + 1)
    shift_y, shift_x = reach - y, reach - x
    box = (slice(top, bottom), slice(left, right))
    part = (slice(top + shift_y, bottom + shift_y), slice(left + shift_x, right + shift_x))
    return box, part
