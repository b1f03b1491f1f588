"""Cosmic rays: pixels that stand out more sharply than the PSF allows any star to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import BoolArray
from astrid_site.imaging.moffat import Moffat
from preprocessing.algorithms.compact_hits import (
    COMPACT_SHARE,
    compact_filters,
    compact_hits,
)
from preprocessing.algorithms.row_strips import positions_where

FloatArray = NDArray[np.float32]
Index = NDArray[np.intp]

# steps (dy, dx) to one of the two opposite neighbours in each direction
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
# share of the PSF's own sharpness a pixel may not exceed: asymmetric PSFs and its errors
_PSF_MARGIN = 0.6
_NOISE_MARGIN = 3.0
# round a pixel found already, less is needed to call its neighbours parts of the same track
_TRACK_SIGMA = 4.0
_TRACK_FLOOR = 3.0
# mean of the four neighbours over the pixel, for it to be worth a test
_LEAST_PEAK = 0.85
# rounds; each lets a track be eaten from its edge by replacing the pixels already found
_ITERATIONS = 6
# light that a track leaves in the pixels it only grazes
_TAIL_SIGMA = 1.0


def sharpest_ratios(psf: Moffat) -> NDArray[np.float64]:
    """Least mean of two opposite neighbours over the central pixel that a star can show.

    Returns
    -------
    NDArray[float64], shape (4,)
        For the directions along x, along y and along both diagonals. The minimum over all
        sub-pixel positions is that of a star centred on the pixel, since (P(-1) + P(+1)) / P(0)
        grows away from the centre for every profile whose logarithm is concave in the core.
    """
    zero = np.zeros(1)
    centre = psf.image(zero, zero)
    ratios = []
    for dy, dx in _DIRECTIONS:
        pair = psf.image(zero + dx, zero + dy) + psf.image(zero - dx, zero - dy)
        ratios.append(float((pair / (2.0 * centre))[0]))
    return np.array(ratios)


def mask_cosmic_rays(
    data: FloatArray,
    variance: FloatArray,
    *,
    bad: BoolArray,
    psf: Moffat,
    sigma: float = 6.0,
) -> BoolArray:
    """Find cosmic rays in a background-subtracted frame.

    Parameters
    ----------
    data, variance : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels and the variance of the sky (without source noise).
    bad : NDArray[bool], shape (ny, nx)
        Unusable pixels; they are neither tested nor trusted as neighbours.
    psf : Moffat
        The PSF of the frame, the narrowest where it varies.
    sigma : float
        Least height of a cosmic-ray pixel above the mean of two opposite neighbours [sigma];
        three quarters of it are enough for what no star of any position could leave.

    Returns
    -------
    NDArray[bool], shape (ny, nx)
        Pixels hit by cosmic rays.

    Notes
    -----
    A pixel is hit if, in one of four directions, it exceeds the mean m of its two opposite
    neighbours significantly, and so sharply that ``margin * (p - k s_p) > (m + k s_m) / r`` with
    r the least ratio m / p of a star. Stars, however undersampled, cannot meet the second
    condition; a PSF too sharp to be told from a cosmic ray leaves both unmasked.

    Two neighbours of one pixel are few against noise. Pixels, pairs, threes and squares are
    therefore also compared with the PSF fitted to all pixels around them (``compact_hits``),
    which finds fainter hits; this test needs all those pixels and stays away from masked ones.

    Pixels that touch a hit and lie 1 sigma above their own unhit neighbours are taken along: they
    hold the charge of the track's edge. Nothing is masked that does not touch a hit, so that a
    star without one keeps every pixel.

    References
    ----------
    .. [1] Lupton et al. 2001, ASP Conf. 238, 269 (the SDSS photometric pipeline).
    """
    hits = np.zeros(data.shape, dtype=np.bool_)
    noise = np.sqrt(variance)
    hits.ravel()[find_cosmic_rays(data, noise, bad=bad, psf=psf, sigma=sigma)] = True
    return hits


def find_cosmic_rays(
    data: FloatArray,
    noise: FloatArray,
    *,
    bad: BoolArray,
    psf: Moffat,
    sigma: float = 6.0,
) -> Index:
    """Flat positions of the pixels that ``mask_cosmic_rays`` flags, for the noise of the sky.

    ``data`` is worked on, and put right again at the end: a copy would be a plane of the frame.
    """
    work, hidden = data, data[bad]
    work[bad] = 0.0
    replaced: list[tuple[Index, FloatArray]] = []
    ratios, filters = sharpest_ratios(psf), compact_filters(psf)
    hits = np.zeros(data.shape, dtype=np.bool_)
    usable = ~bad
    unhit = usable.copy()
    least = float(np.float32(COMPACT_SHARE * sigma))
    candidates = _bright_peaks(work, noise, usable, sigma=least)
    is_near = False
    for _ in range(_ITERATIONS):
        hit = _is_hit(work, noise, usable, at=candidates, ratios=ratios, sigma=sigma)
        more = compact_hits(
            work, noise, usable, at=candidates, filters=filters, sigma=least, near=is_near
        )
        new = np.union1d(candidates[hit], _inside(more, data.shape))
        new = new[unhit.ravel()[new]]
        if new.size == 0:
            break
        hits.ravel()[new] = True
        # what is hit is no neighbour to learn from; it stays trusted as what replaced it
        unhit.ravel()[new] = False
        replaced.append((new, work.ravel()[new]))
        work.ravel()[new] = _good_neighbour_mean(work, unhit, at=new)
        around = _neighbours_of(new, data.shape)
        floor = np.float32(_TRACK_FLOOR) * noise.ravel()[around]
        candidates = around[unhit.ravel()[around] & (work.ravel()[around] > floor)]
        sigma = min(sigma, _TRACK_SIGMA)
        is_near = True
    for at, values in replaced:
        data.ravel()[at] = values
    data[bad] = hidden
    return _with_tails(hits, data, noise, unhit=unhit)


def _bright_peaks(work: FloatArray, noise: FloatArray, usable: BoolArray, *, sigma: float) -> Index:
    """Usable pixels inside the frame above ``sigma`` that rise above what touches their sides."""

    def is_bright(rows: slice) -> BoolArray:
        bright = work[rows] > np.float32(sigma) * noise[rows]
        bright &= usable[rows]
        bright[:, [0, -1]] = False
        return bright

    at = positions_where(work.shape, is_bright)
    nx = work.shape[1]
    return _peaked(work, at[(at >= nx) & (at < work.size - nx)])


def _with_tails(hits: BoolArray, data: FloatArray, noise: FloatArray, *, unhit: BoolArray) -> Index:
    """Hits plus their bright neighbours: the charge a track leaves in pixels it only grazes."""
    every = np.flatnonzero(hits)
    around = _neighbours_of(_inside(every, data.shape), data.shape)
    around = around[unhit.ravel()[around]]
    # on a star every neighbour is bright: those count that rise above what is next to them
    level = np.maximum(_good_neighbour_mean(data, unhit, at=around), np.float32(0))
    excess = data.ravel()[around] - level
    tails = around[excess > np.float32(_TAIL_SIGMA) * noise.ravel()[around]]
    return np.sort(np.concatenate([every, tails]))


def _inside(flat: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Flat positions that have all eight neighbours."""
    rows, columns = np.divmod(flat, shape[1])
    keep = (rows > 0) & (rows < shape[0] - 1) & (columns > 0) & (columns < shape[1] - 1)
    return flat[keep]


def _peaked(work: FloatArray, at: NDArray[np.intp]) -> NDArray[np.intp]:
    """Positions brighter than what touches their sides: on a source, few; in a track, nearly all.

    Those that a brighter neighbour hides come up again once that neighbour is replaced.
    """
    flat, nx = work.ravel(), work.shape[1]
    beside = flat[at - 1] + flat[at + 1]
    beside += flat[at - nx]
    beside += flat[at + nx]
    return at[beside < np.float32(4.0 * _LEAST_PEAK) * flat[at]]


def _is_hit(
    work: FloatArray,
    noise: FloatArray,
    trusted: BoolArray,
    *,
    at: NDArray[np.intp],
    ratios: NDArray[np.float64],
    sigma: float,
) -> BoolArray:
    """Whether the pixels at flat positions ``at`` stand out too sharply in any direction."""
    nx = work.shape[1]
    pixel, error = work.ravel()[at], noise.ravel()[at]
    flat_work, flat_trusted = work.ravel(), trusted.ravel()
    hit = np.zeros(at.size, dtype=np.bool_)
    for (dy, dx), ratio in zip(_DIRECTIONS, ratios, strict=True):
        step = dy * nx + dx
        mean = 0.5 * (flat_work[at + step] + flat_work[at - step])
        # beside a masked pixel the slope of a star's wing would look like an edge
        known = flat_trusted[at + step] & flat_trusted[at - step]
        stands_out = pixel - mean > sigma * error
        floor = _PSF_MARGIN * ratio * (pixel - _NOISE_MARGIN * error)
        too_sharp = mean + _NOISE_MARGIN * error / np.sqrt(2.0) < floor
        hit |= known & stands_out & too_sharp
    return hit


def _good_neighbour_mean(work: FloatArray, good: BoolArray, *, at: NDArray[np.intp]) -> FloatArray:
    """Mean of the good pixels among the eight neighbours; 0 where there is none."""
    nx = work.shape[1]
    steps = [dy * nx + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    total = np.zeros(at.size, dtype=np.float32)
    count = np.zeros(at.size, dtype=np.float32)
    for step in steps:
        weight = good.ravel()[at + step].astype(np.float32)
        total += weight * work.ravel()[at + step]
        count += weight
    return np.asarray(total / np.maximum(count, np.float32(1)), dtype=np.float32)


def _neighbours_of(at: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Flat positions of the pixels that touch the positions ``at`` and have all neighbours."""
    nx = shape[1]
    steps = np.array([dy * nx + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])
    around = np.unique((at[:, None] + steps[None, :]).ravel())
    around = around[(around >= 0) & (around < shape[0] * nx)]
    return _inside(around, shape)
