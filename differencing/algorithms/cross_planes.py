"""Two images each convolved with the other's PSF, and whitened as far as the PSFs reach."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.psf import PsfField
from differencing.algorithms.direction import is_undersampled
from differencing.algorithms.kernel_filters import central_psf
from differencing.algorithms.pair import Pair
from differencing.algorithms.stamps import StarPositions

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Least side of the grid on which filters are made [pix].
_GRID = 64
#: Half width of the filters [pix]; they fall as the PSFs do.
_REACH = 10
#: Noise power, relative to its largest, below which the PSFs are not believed to differ.
_LEAST_POWER = 1e-4
#: Half width of the boxes that tell how bright the stars of one image are in the other [pix].
_BOX_PIX = 4


def cross_planes(
    pair: Pair, positions: StarPositions
) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray], FloatArray]:
    """Data and variance of both images between which a kernel is fitted.

    Parameters
    ----------
    pair : Pair
        The two images.
    positions : StarPositions
        Stars, which tell the flux ratio.

    Returns
    -------
    tuple of two pairs of NDArray[float32], shape (ny, nx), and one NDArray[float32]
        Data and variance of the science image and of the template, and the correlation of the
        template's noise at each lag (dy, dx).

    Notes
    -----
    ``P_R W S`` and ``P_S W R`` with W the inverse root of ``s^2 |P_R|^2 + F^2 r^2 |P_S|^2``: the
    two terms of the proper difference ([1]_ eq. 13), with the PSFs of the frame's centre. What is
    left for a kernel is a flux ratio and a slight change of shape, and its residuals are weighed as
    those of the difference that is made with it. Convolved with the PSFs alone, two images with
    PSFs of 2.7 and 2.9 pixels hide from the fit what the whitening then brings out: 10 % of the
    stars had a chi2 above 4.

    References
    ----------
    .. [1] Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27.
    """
    side = max(_GRID, 2 * pair.science_psf.size, 2 * pair.template_psf.size)
    of_science, of_template = (
        _spectrum(psf, side) for psf in (pair.science_psf, pair.template_psf)
    )
    ratio = _flux_ratio(pair, positions)
    noise = [_sky(plane, pair) for plane in (pair.science_variance, pair.template_variance)]
    power = noise[0] * np.abs(of_template) ** 2 + ratio**2 * noise[1] * np.abs(of_science) ** 2
    whiten = np.sqrt(power[0, 0] / (power + _LEAST_POWER * power.max()))
    if is_undersampled(pair.science_psf, pair.template_psf):
        # no kernel matches what it would lift
        whiten = np.ones_like(whiten)
    ours, theirs = _filter(of_template * whiten), _filter(of_science * whiten)
    return (
        _convolved(pair.science, pair.science_variance, ours),
        _convolved(pair.template, pair.template_variance, theirs),
        _autocorrelation(theirs),
    )


def _spectrum(psf: PsfField, side: int) -> NDArray[np.complex128]:
    image = central_psf(psf)
    half = image.shape[0] // 2
    padded = np.zeros((side, side))
    padded[: image.shape[0], : image.shape[1]] = image
    return np.fft.rfft2(np.roll(padded, (-half, -half), axis=(0, 1)))


def _sky(variance: FloatArray, pair: Pair) -> float:
    """Variance of blank sky: the median of one good pixel in sixteen."""
    return float(np.median(variance[::4, ::4][~pair.bad[::4, ::4]]))


def _flux_ratio(pair: Pair, positions: StarPositions) -> float:
    """Science over template light of the stars, the median; 1 where no star is bright in both."""
    ratios = []
    for x, y in zip(positions.x, positions.y, strict=True):
        box = (
            slice(max(y - _BOX_PIX, 0), y + _BOX_PIX + 1),
            slice(max(x - _BOX_PIX, 0), x + _BOX_PIX + 1),
        )
        light = float(pair.science[box].sum()), float(pair.template[box].sum())
        if min(light) > 0:
            ratios.append(light[0] / light[1])
    return float(np.median(ratios)) if ratios else 1.0


def _filter(spectrum: NDArray[np.complex128]) -> FloatArray:
    """Pixels of a filter about its middle one."""
    side = spectrum.shape[0]
    image = np.roll(np.fft.irfft2(spectrum, (side, side)), (_REACH, _REACH), axis=(0, 1))
    return image[: 2 * _REACH + 1, : 2 * _REACH + 1].astype(np.float32)


def _autocorrelation(kernel: FloatArray) -> FloatArray:
    """Of white noise behind a filter, 1 at lag zero; shape (4 reach + 1, 4 reach + 1)."""
    side = 2 * kernel.shape[0] - 1
    power = np.abs(np.fft.rfft2(kernel, (side, side))) ** 2
    lags = np.fft.fftshift(np.fft.irfft2(power, (side, side)))
    return np.asarray(lags / lags.max(), dtype=np.float32)


def _convolved(
    data: FloatArray, variance: FloatArray, kernel: FloatArray
) -> tuple[FloatArray, FloatArray]:
    # a third of a second to load, for what few pairs need
    from scipy.signal import oaconvolve

    smooth = oaconvolve(data, kernel, mode="same").astype(np.float32)
    power = oaconvolve(variance, kernel**2, mode="same").astype(np.float32)
    return smooth, np.maximum(power, np.float32(1e-3) * np.float32(np.median(power)))
