"""Whitening by measurement: removing what correlation the noise of a difference still has.

The filters of a subtraction make its noise white where the noise of each image is. That of a
drizzled or warped image is not, and no header tells how its neighbours are correlated: blank sky
does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from astrid_site.imaging.psf import PsfField, measure_fwhm
from differencing.algorithms.score import pulls, robust_width
from differencing.algorithms.tiles import Filtered

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Float64 = NDArray[np.float64]

#: Largest lag at which pixels are believed to share noise [pix]; what reaches farther is sky.
_REACH = 6
#: Half width of the whitening filter [pix].
_FILTER_REACH = 8
#: Side of the cells that sample the frame, and how many are enough: 2 Mpix tell each lag to 0.001.
_CELL_PIX = 256
_MAX_CELLS = 32
_CLIP_SIGMA = 4.0
#: A frame is left as it is while no lag exceeds this, or this many standard errors. Whitening
#: sharpens what a kernel leaves of bright stars, too: at 0.11, a warped template's, that cost 2.5
#: false candidates per Mpix and gained nothing.
_LEAST_CORRELATION = 0.25
_LEAST_SIGMA = 5.0
#: Least noise power, relative to its mean, that the filter may lift to the others.
_LEAST_POWER = 0.05
_GRID = 64


@dataclass(frozen=True)
class NoiseColour:
    """Autocorrelation of blank sky.

    Attributes
    ----------
    correlation : NDArray[float64], shape (13, 13)
        Coefficient at each lag (dy, dx), 1 in the middle, 0 where none is significant.
    is_white : bool
        Whether none is.
    """

    correlation: Float64
    is_white: bool


def measure_colour(filtered: Filtered, blank: BoolArray) -> NoiseColour:
    """Autocorrelation of the pulls of blank sky up to 6 pixels, clipped at 4 sigma.

    Parameters
    ----------
    filtered : Filtered
        Difference and its propagated variance.
    blank : NDArray[bool], shape (ny, nx)
        Blank sky.

    Notes
    -----
    The level to which the coefficients fall at the largest lag is structure wider than any
    pixel's noise; it is taken off.
    """
    product, n_pairs = _lag_sums(filtered, blank)
    middle = (_REACH, _REACH)
    white = np.zeros_like(product)
    white[middle] = 1.0
    if not (n_pairs.min() > 0 and product[middle] > 0):
        return NoiseColour(white, is_white=True)
    correlation = product / n_pairs / (product[middle] / n_pairs[middle])
    radius = np.hypot(*(np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1]))
    floor = float(correlation[radius > _REACH - 0.5].mean())
    correlation = (correlation - floor) / (1.0 - floor)
    error = 1.0 / np.sqrt(n_pairs)
    others = radius > 0
    limit = np.maximum(_LEAST_CORRELATION, _LEAST_SIGMA * error)
    if not (np.abs(correlation) > limit)[others].any():
        return NoiseColour(white, is_white=True)
    taper = np.clip((_REACH + 1 - radius) / (_REACH / 2), 0.0, 1.0)
    kept = np.where(np.abs(correlation) > 3.0 * error, correlation, 0.0) * taper
    return NoiseColour(np.where(others, kept, 1.0), is_white=False)


def _lag_sums(filtered: Filtered, blank: BoolArray) -> tuple[Float64, Float64]:
    """Sum of products of pulls at each lag, and the number of pairs, over cells of the frame."""
    boxes = _cells(blank.shape)
    cells = [pulls(filtered, box) for box in boxes]
    values = np.concatenate([part[blank[box]] for part, box in zip(cells, boxes, strict=True)])
    side = 2 * _REACH + 1
    if len(values) == 0:
        return np.zeros((side, side)), np.zeros((side, side))
    level, limit = float(np.median(values)), _CLIP_SIGMA * robust_width(values)
    product, n_pairs = np.zeros((side, side)), np.zeros((side, side))
    size = fft.next_fast_len(_CELL_PIX + _REACH, real=True)
    for box, pull in zip(boxes, cells, strict=True):
        used = blank[box]
        part = np.where(used, np.clip(pull - level, -limit, limit), 0.0)
        product += _autocorrelation(part, size)
        n_pairs += np.rint(_autocorrelation(used.astype(np.float64), size))
    return product, n_pairs


def _cells(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Cells spread evenly over the frame."""
    boxes = [
        (slice(top, top + _CELL_PIX), slice(left, left + _CELL_PIX))
        for top in range(0, shape[0], _CELL_PIX)
        for left in range(0, shape[1], _CELL_PIX)
    ]
    chosen = np.unique(np.linspace(0, len(boxes) - 1, min(len(boxes), _MAX_CELLS)).astype(int))
    return [boxes[i] for i in chosen]


def _autocorrelation(image: Float64, size: int) -> Float64:
    """Sums of products of an image with itself at lags up to the reach."""
    power = np.abs(fft.rfft2(image, (size, size))) ** 2
    lags = np.arange(-_REACH, _REACH + 1)
    return np.asarray(fft.irfft2(power, (size, size))[np.ix_(lags, lags)])


def whiten(filtered: Filtered, colour: NoiseColour) -> Filtered:
    """The difference with the measured colour of its noise removed, and all that follows from it.

    Parameters
    ----------
    filtered : Filtered
        Difference, signal and variances, propagated as if the noise of each image were white.
    colour : NoiseColour
        Measured correlation of its blank sky.

    Returns
    -------
    Filtered
        With white noise. Fluxes keep their scale: the filter is one at frequency zero, and the
        PSF went through it.

    Notes
    -----
    With noise power P, of mean one, the filter is ``W = sqrt(P(0) / P)``. It leaves white noise
    of P(0) times the variance. The matched filter of the new difference with its own PSF is
    ``W^2`` on the old signal: the score that weighs each frequency by its noise [1]_.

    References
    ----------
    .. [1] Zackay & Ofek 2017, ApJ 836, 187, section 3 (matched filter in correlated noise).
    """
    # a third of a second to load, for what few pairs need
    from scipy.signal import fftconvolve

    kernel, power = _whitening_kernel(colour)
    squared = fftconvolve(kernel, kernel)
    psf = _filtered_psf(filtered.psf, kernel)
    difference = _convolve(filtered.difference, kernel)
    difference[filtered.bad] = 0.0
    gain = power * _norm(psf) / _norm(filtered.psf)
    return replace(
        filtered,
        difference=difference,
        variance=filtered.variance * np.float32(power),
        signal=_convolve(filtered.signal, squared),
        signal_variance=filtered.signal_variance * np.float32(gain),
        static_signal=_convolve(filtered.static_signal, squared),
        psf=psf,
    )


def _whitening_kernel(colour: NoiseColour) -> tuple[Float64, float]:
    """Kernel of unit sum that whitens, and the variance that it leaves of noise of variance one."""
    padded = np.zeros((_GRID, _GRID))
    lags = np.arange(-_REACH, _REACH + 1)
    padded[np.ix_(lags, lags)] = colour.correlation
    power = np.maximum(fft.rfft2(padded).real, _LEAST_POWER)
    response = fft.irfft2(np.sqrt(power[0, 0] / power), (_GRID, _GRID))
    near = np.arange(-_FILTER_REACH, _FILTER_REACH + 1)
    kernel = response[np.ix_(near, near)]
    return kernel / kernel.sum(), float(power[0, 0])


def _convolve(plane: FloatArray, kernel: Float64) -> FloatArray:
    from scipy.signal import oaconvolve

    return np.asarray(oaconvolve(plane, kernel.astype(np.float32), mode="same"), dtype=np.float32)


def _filtered_psf(psf: PsfField, kernel: Float64) -> PsfField:
    """The PSF field through the filter."""
    from scipy.signal import fftconvolve

    images = np.stack([fftconvolve(image, kernel, mode="same") for image in psf.coefficients])
    field = replace(psf, coefficients=images.astype(np.float32))
    return replace(field, fwhm_pix=measure_fwhm(_central(field)))


def _central(psf: PsfField) -> FloatArray:
    ny, nx = psf.shape
    return np.asarray(psf.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0], dtype=np.float32)


def _norm(psf: PsfField) -> float:
    """Sum of the squared pixels of the PSF at the frame's centre."""
    return float(np.square(_central(psf)).sum())
