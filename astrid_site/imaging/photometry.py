"""Flux of point sources at known positions, and AB magnitudes that claim no more than the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import MaskArray, is_bad
from astrid_site.imaging.psf import PsfField

FloatArray = NDArray[np.float32]
Positions = NDArray[np.float64]

#: Below this many sigma a flux has no magnitude, only a limit.
MAGNITUDE_SIGMA = 3.0
LIMIT_SIGMA = 5.0
#: A PSF narrower than this [pix] is not what its pixels alone say between them: shifted so, one of
#: 1.8 pixels took 1.2 % of a source's flux, one of 1.6 2.7 %, and left 3 to 4 % of its peak.
UNDERSAMPLED_PIX = 2.2
#: Share of the PSF's squared weight that may be masked before a flux is refused.
MAX_LOST_WEIGHT = 0.3
_POGSON = 2.5 / math.log(10.0)


class Magnitude(NamedTuple):
    """AB magnitude with error, and the 5 sigma limit; None where the flux carries no magnitude."""

    mag: float | None
    mag_error: float | None
    limit_mag: float


@dataclass(frozen=True)
class ForcedFlux:
    """Flux measured at a fixed position, in the units of the data.

    Attributes
    ----------
    flux, flux_error : float
        PSF-weighted flux and its standard error.
    flags : int
        ``MaskPlane`` bits found in the 5x5 pixels around the position.
    chi2 : float
        Mean squared residual of the PSF model in units of the variance, within one FWHM.
    mask_fraction : float
        Share of the PSF's squared weight that fell on unusable pixels.
    """

    flux: float
    flux_error: float
    flags: int
    chi2: float
    mask_fraction: float


@dataclass(frozen=True)
class ForcedFluxes:
    """Fluxes at n fixed positions; NaN flux, error and chi2 where too much of the PSF is masked."""

    flux: NDArray[np.float64]
    flux_error: NDArray[np.float64]
    flags: NDArray[np.int64]
    chi2: NDArray[np.float64]
    mask_fraction: NDArray[np.float64]


@dataclass(frozen=True)
class PsfStamps:
    """Pixels around n positions with the PSF shifted to each; all shape (n, size, size)."""

    data: FloatArray
    variance: FloatArray
    mask: MaskArray
    good: NDArray[np.bool_]
    psf: FloatArray


def flux_to_mag(flux: float, flux_error: float, zero_point: float) -> Magnitude:
    """AB magnitude of a flux, m = zero_point - 2.5 log10(flux), or only its limit.

    Parameters
    ----------
    flux, flux_error : float
        Flux and its standard error in data units; the error is positive.
    zero_point : float
        AB magnitude of one data unit [mag].

    Returns
    -------
    Magnitude
        Magnitude and error [mag] where the flux is positive and at least 3 sigma, else None for
        both; the 5 sigma limiting magnitude always.

    Raises
    ------
    ValueError
        If the error is not positive and finite, or flux or zero point is not finite.

    References
    ----------
    .. [1] Oke & Gunn 1983, ApJ 266, 713 (AB system); error to first order, 1.0857 / (S/N).
    """
    if not (math.isfinite(flux_error) and flux_error > 0):
        msg = f"flux_error: must be positive and finite, got {flux_error}"
        raise ValueError(msg)
    if not (math.isfinite(flux) and math.isfinite(zero_point)):
        msg = f"flux, zero_point: must be finite, got {flux}, {zero_point}"
        raise ValueError(msg)
    limit = zero_point - 2.5 * math.log10(LIMIT_SIGMA * flux_error)
    if flux < MAGNITUDE_SIGMA * flux_error:
        return Magnitude(None, None, limit)
    return Magnitude(zero_point - 2.5 * math.log10(flux), _POGSON * flux_error / flux, limit)


def shift_psf(psf: FloatArray, dx: Positions, dy: Positions) -> FloatArray:
    """Shift PSF images by sub-pixel amounts without changing their sum.

    Parameters
    ----------
    psf : NDArray[float32], shape (n, size, size)
        Centred PSF images; ``size`` odd.
    dx, dy : NDArray[float64], shape (n,)
        Shifts [pix], at most half a pixel by convention.

    Returns
    -------
    NDArray[float32], shape (n, size, size)

    Notes
    -----
    Band-limited (Fourier) interpolation as two matrix products with the periodic sinc kernel of
    odd length: exact for a PSF sampled at Nyquist, and no spline damping of its peak.
    """
    size = psf.shape[-1]
    along_x = _periodic_sinc(size, np.atleast_1d(np.asarray(dx, dtype=np.float64)))
    along_y = _periodic_sinc(size, np.atleast_1d(np.asarray(dy, dtype=np.float64)))
    return np.asarray(along_y @ psf @ along_x.transpose(0, 2, 1), dtype=np.float32)


def _periodic_sinc(size: int, shift: Positions) -> FloatArray:
    """Matrices (n, size, size) that shift a periodic row of odd length by ``shift`` pixels."""
    # a matrix element depends on the distance of row and column alone
    offset = np.arange(1 - size, size)[None, :] - shift[:, None]
    denominator = size * np.sin(np.pi * offset / size)
    is_zero = np.abs(denominator) < 1e-12
    kernel = np.sin(np.pi * offset) / np.where(is_zero, 1.0, denominator)
    kernel = np.where(is_zero, 1.0, kernel).astype(np.float32)
    index = np.arange(size)
    return np.asarray(kernel[:, index[:, None] - index[None, :] + size - 1], dtype=np.float32)


def cut_psf_stamps(
    data: FloatArray,
    variance: FloatArray,
    psf: PsfField,
    *,
    mask: MaskArray,
    x: Positions,
    y: Positions,
) -> PsfStamps:
    """Cut the pixels under the PSF at n positions, with the PSF shifted to each.

    Pixels off the frame, masked, or without positive finite variance are not good.
    """
    x, y = np.atleast_1d(x).astype(np.float64), np.atleast_1d(y).astype(np.float64)
    ix, iy = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    half = psf.size // 2
    offsets = np.arange(-half, half + 1)
    rows = iy[:, None, None] + offsets[None, :, None]
    columns = ix[:, None, None] + offsets[None, None, :]
    ny, nx = data.shape
    inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
    rows, columns = np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)
    stamp_variance = variance[rows, columns]
    stamp_mask = np.where(inside, mask[rows, columns], np.uint16(0)).astype(np.uint16)
    good = inside & ~is_bad(stamp_mask) & np.isfinite(stamp_variance) & (stamp_variance > 0)
    return PsfStamps(
        data=np.where(good, data[rows, columns], np.float32(0)),
        variance=np.where(good, stamp_variance, np.float32(1)),
        mask=stamp_mask,
        good=good,
        psf=_psf_at(psf, x, y),
    )


def _psf_at(psf: PsfField, x: Positions, y: Positions) -> FloatArray:
    """PSF images for sources at positions [pix], on the pixels around their nearest one."""
    dx, dy = x - np.rint(x), y - np.rint(y)
    if psf.fwhm_pix >= UNDERSAMPLED_PIX:
        return shift_psf(psf.at(x, y), dx, dy)
    # a quarter of a second to load, for what few surveys need
    from astrid_site.imaging.continuous_psf import continuous_psf

    offset = np.arange(-(psf.size // 2), psf.size // 2 + 1)
    images = continuous_psf(psf).at(
        x,
        y,
        dx=offset[None, None, :] - dx[:, None, None] + np.zeros((1, psf.size, 1)),
        dy=offset[None, :, None] - dy[:, None, None] + np.zeros((1, 1, psf.size)),
    )
    return np.asarray(images, dtype=np.float32)


def fit_stamp_fluxes(
    stamps: PsfStamps, *, noise_scale: float = 1.0, max_lost_weight: float = MAX_LOST_WEIGHT
) -> ForcedFluxes:
    """Flux of each stamp's PSF; see ``forced_photometry`` for the estimator."""
    weight = np.where(stamps.good, stamps.psf, 0.0).astype(np.float64)
    kept = np.einsum("nij,nij->n", weight, weight)
    total = np.einsum("nij,nij->n", stamps.psf, stamps.psf, dtype=np.float64)
    lost = 1.0 - kept / total
    centre = stamps.psf.shape[-1] // 2
    usable = stamps.good[:, centre, centre] & (lost <= max_lost_weight)
    norm = np.where(usable, kept, np.nan)
    flux = np.einsum("nij,nij->n", weight, stamps.data) / norm
    error = np.sqrt(np.einsum("nij,nij->n", weight**2, stamps.variance)) / norm
    return ForcedFluxes(
        flux=flux,
        flux_error=error * noise_scale,
        flags=_core_flags(stamps.mask),
        chi2=_core_chi2(stamps, flux),
        mask_fraction=lost,
    )


def _core_flags(mask: MaskArray) -> NDArray[np.int64]:
    """Mask bits of the central 5x5 pixels of each stamp, combined."""
    centre = mask.shape[-1] // 2
    low = max(centre - 2, 0)
    core = mask[:, low : centre + 3, low : centre + 3]
    flags = np.bitwise_or.reduce(core.reshape(len(mask), -1), axis=1)
    return np.asarray(flags, dtype=np.int64)


def _core_chi2(stamps: PsfStamps, flux: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean squared pull of the residual over good pixels with over a tenth of the PSF's peak."""
    bright = stamps.psf > 0.1 * stamps.psf.max(axis=(1, 2), keepdims=True)
    core = stamps.good & bright
    residual = stamps.data - flux[:, None, None] * stamps.psf
    squares = np.where(core, residual**2 / stamps.variance, 0.0).sum(axis=(1, 2))
    # one degree of freedom went into the flux
    return np.asarray(squares / np.maximum(core.sum(axis=(1, 2)) - 1, 1), dtype=np.float64)


def forced_photometry(
    data: FloatArray,
    variance: FloatArray,
    psf: PsfField,
    mask: MaskArray,
    x: float,
    y: float,
    *,
    noise_scale: float = 1.0,
) -> ForcedFlux | None:
    """Flux of a point source at a fixed position on an image or a difference.

    Parameters
    ----------
    data, variance : NDArray[float32], shape (ny, nx)
        Background-free pixels and their variance, in data units and their square.
    psf : PsfField
        PSF of ``data``.
    mask : NDArray[uint16], shape (ny, nx)
        ``MaskPlane`` bits.
    x, y : float
        Position [pix], 0-based.
    noise_scale : float
        Factor on the error where noise is correlated; see ``measure_noise_scale``.

    Returns
    -------
    ForcedFlux or None
        None where the frame says nothing about the position: it is off the frame, its central
        pixel is unusable, or over 30 % of the PSF's squared weight is masked.

    Notes
    -----
    flux = sum(P d) / sum(P^2) over good pixels, error from the full variance,
    sqrt(sum(P^2 V)) / sum(P^2). This is optimal extraction [1]_ (eq. 8) with uniform weights: the
    variance contains the source's own photon noise estimated from the same pixels, and weighting
    by it would favour downward fluctuations and bias bright fluxes low. Background-limited
    sources lose nothing.

    References
    ----------
    .. [1] Horne 1986, PASP 98, 609.
    """
    stamps = cut_psf_stamps(
        data, variance, psf, mask=mask, x=np.array([x], float), y=np.array([y], float)
    )
    fit = fit_stamp_fluxes(stamps, noise_scale=noise_scale)
    if not np.isfinite(fit.flux[0]):
        return None
    return ForcedFlux(
        flux=float(fit.flux[0]),
        flux_error=float(fit.flux_error[0]),
        flags=int(fit.flags[0]),
        chi2=float(fit.chi2[0]),
        mask_fraction=float(fit.mask_fraction[0]),
    )


def measure_noise_scale(
    data: FloatArray,
    variance: FloatArray,
    psf: PsfField,
    *,
    mask: MaskArray,
    n_side: int = 48,
    min_positions: int = 60,
) -> float:
    """Scatter of forced fluxes on blank sky in units of their formal error.

    Warping and kernel convolution correlate the noise of neighbouring pixels, so that errors
    from the variance alone are too small (or too large); this factor restores them.

    Parameters
    ----------
    data, variance, psf, mask
        As in ``forced_photometry``.
    n_side : int
        Fluxes are measured on an n_side x n_side grid.
    min_positions : int
        Below this many usable positions the scatter means nothing and 1.0 is returned.

    Returns
    -------
    float
        Robust width (from the 16th and 84th percentile) of flux / error; 1 for white noise.
    """
    ny, nx = data.shape
    half = psf.size // 2
    if min(ny, nx) < 2 * psf.size:
        return 1.0
    grid_y, grid_x = np.meshgrid(
        np.linspace(half, ny - 1 - half, n_side).round(),
        np.linspace(half, nx - 1 - half, n_side).round(),
        indexing="ij",
    )
    stamps = cut_psf_stamps(data, variance, psf, mask=mask, x=grid_x.ravel(), y=grid_y.ravel())
    fit = fit_stamp_fluxes(stamps)
    pulls = (fit.flux / fit.flux_error)[np.isfinite(fit.flux) & (fit.mask_fraction < 0.01)]
    if len(pulls) < min_positions:
        return 1.0
    low, high = np.percentile(pulls, [15.865, 84.135])
    return float((high - low) / 2.0)
